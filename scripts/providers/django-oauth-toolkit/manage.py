"""Makes a database with the users and the client, and serves it until it is stopped."""

import os
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

USERS = {
    "alice": ("Alice", "Arai", ["admins", "staff"]),
    "bob": ("Bob", "Baker", ["staff"]),
}
APPS = ["http://localhost:8000", "http://localhost:5173"]


def rsa_key():
    return (
        rsa.generate_private_key(65537, 2048)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def fill():
    from django.contrib.auth.models import Group, User
    from oauth2_provider.models import Application

    for name, (first, last, groups) in USERS.items():
        user = User.objects.create_user(
            name, f"{name}@example.com", "password", first_name=first, last_name=last
        )
        user.groups.set([Group.objects.get_or_create(name=group)[0] for group in groups])
    Application.objects.create(
        name="Genkan",
        client_id="genkan",
        client_secret="only-for-tests-on-this-machine-3",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        algorithm=Application.RS256_ALGORITHM,
        redirect_uris=" ".join(app + "/bff/callback" for app in APPS),
        post_logout_redirect_uris=" ".join(app + "/bff/logout/callback" for app in APPS),
    )


def main():
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    os.environ["RSA_KEY"] = rsa_key()

    import django
    from django.conf import settings
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    fill()
    issuer = urlsplit(settings.ISSUER)
    port = os.environ.get("PORT", issuer.port)
    print(f"provider: {settings.ISSUER}", flush=True)
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)


if __name__ == "__main__":
    main()
