"""The provider's addresses, its claims, and an API for its access tokens."""

from django.contrib.auth.views import LoginView
from django.http import JsonResponse
from django.urls import include, path
from django.utils import timezone
from oauth2_provider.decorators import protected_resource
from oauth2_provider.models import AccessToken
from oauth2_provider.oauth2_validators import OAuth2Validator


class Validator(OAuth2Validator):
    oidc_claim_scope = OAuth2Validator.oidc_claim_scope | {"groups": "groups"}

    def get_additional_claims(self):
        return {
            "name": lambda request: request.user.get_full_name(),
            "preferred_username": lambda request: request.user.get_username(),
            "email": lambda request: request.user.email,
            "groups": lambda request: sorted(group.name for group in request.user.groups.all()),
        }


@protected_resource(advertise_metadata=True)
def api(request, rest):
    token = AccessToken.objects.get(token=request.headers["Authorization"].split()[1])
    return JsonResponse(
        {
            "sub": str(request.resource_owner.pk),
            "scope": token.scope,
            "authorization_scheme": request.headers["Authorization"].split()[0],
            "token_expires_in": int((token.expires - timezone.now()).total_seconds()),
            "request_headers": [name.lower() for name in request.headers],
        }
    )


urlpatterns = [
    path("accounts/login/", LoginView.as_view()),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
    path("api/<path:rest>", api),
]
