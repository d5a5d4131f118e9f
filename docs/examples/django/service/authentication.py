"""Who is calling, as Genkan's signed assertion says."""

from dataclasses import dataclass

import jwt
from django.conf import settings
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import APIException, AuthenticationFailed

# Kept two minutes; fetched anew for an unknown key, at most every five seconds.
keys = jwt.PyJWKClient(
    settings.GENKAN_JWKS_URL, lifespan=120, cooldown_duration=5, timeout=5
)


@dataclass(frozen=True)
class User:
    """Known from the assertion alone: there is no row of a table behind it."""

    sub: str
    email: str | None
    groups: list[str]
    is_authenticated = True


class KeysUnavailable(APIException):
    status_code = 503
    default_detail = "Genkan's keys cannot be fetched"


class GenkanAuthentication(BaseAuthentication):
    def authenticate(self, request):
        scheme, _, token = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        try:
            decoded = jwt.decode_complete(
                token,
                keys.get_signing_key_from_jwt(token),
                algorithms=["ES256", "EdDSA"],
                issuer=settings.GENKAN_ISSUER,
                audience=settings.AUDIENCE,
                leeway=5,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise KeysUnavailable() from error
        except jwt.PyJWTError as error:
            raise AuthenticationFailed("invalid token") from error
        if decoded["header"].get("typ") != "JWT":
            raise AuthenticationFailed("invalid token")
        claims = decoded["payload"]
        user = User(claims["sub"], claims.get("email"), claims.get("groups", []))
        return user, claims

    def authenticate_header(self, request):
        return 'Bearer error="invalid_token"'
