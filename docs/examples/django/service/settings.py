import os

GENKAN_ISSUER = os.getenv("GENKAN_ISSUER", "http://localhost:8000")
GENKAN_JWKS_URL = os.getenv("GENKAN_JWKS_URL", f"{GENKAN_ISSUER}/.well-known/jwks.json")
AUDIENCE = os.getenv("AUDIENCE", "/api/django/")

ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "service.urls"
INSTALLED_APPS = ["rest_framework"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["service.authentication.GenkanAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "UNAUTHENTICATED_USER": None,
}
