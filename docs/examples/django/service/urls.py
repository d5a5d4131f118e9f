from dataclasses import asdict

from django.urls import path
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.response import Response


class IsAdmin(BasePermission):
    def has_permission(self, request, view):
        return "admins" in request.user.groups


@api_view()
def me(request):
    return Response(asdict(request.user))


@api_view()
@permission_classes([IsAuthenticated, IsAdmin])
def administration(request):
    return Response(asdict(request.user))


urlpatterns = [path("me", me), path("admin", administration)]
