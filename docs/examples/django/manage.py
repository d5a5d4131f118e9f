import os
import sys

from django.core.management import execute_from_command_line
from django.core.management.commands.runserver import Command as runserver

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "service.settings")
    runserver.default_port = os.getenv("PORT", "9203")
    execute_from_command_line(sys.argv)
