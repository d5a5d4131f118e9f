"""A Flask service behind Genkan, which says who is calling in a signed assertion."""

import os

from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from authlib.oauth2.rfc6750 import (
    BearerTokenValidator,
    InsufficientScopeError,
    InvalidTokenError,
)
from flask import Flask
from joserfc import jwt
from joserfc.errors import JoseError

from keys import Keys

ISSUER = os.getenv("GENKAN_ISSUER", "http://localhost:8000")
JWKS_URL = os.getenv("GENKAN_JWKS_URL", f"{ISSUER}/.well-known/jwks.json")
AUDIENCE = os.getenv("AUDIENCE", "/api/flask/")


class AssertionValidator(BearerTokenValidator):
    keys = Keys(JWKS_URL)
    claims = jwt.JWTClaimsRegistry(
        leeway=5,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
        sub={"essential": True},
    )

    def authenticate_token(self, token_string):
        try:
            token = jwt.decode(token_string, self.keys.find, ["ES256", "EdDSA"])
            self.claims.validate(token.claims)
        except (JoseError, TypeError) as error:  # the latter for an odd crit header
            raise InvalidTokenError() from error
        if token.header.get("typ") != "JWT":
            raise InvalidTokenError()
        return token.claims

    def validate_token(self, token, scopes, request, groups=()):
        """Is given what a view's decorator asks for."""
        if not set(groups) <= set(token.get("groups", [])):
            raise InsufficientScopeError()


app = Flask(__name__)
require_user = ResourceProtector()
require_user.register_token_validator(AssertionValidator())


@app.get("/me")
@require_user()
def me():
    return {claim: current_token.get(claim) for claim in ("sub", "email", "groups")}


@app.get("/admin")
@require_user(groups="admins")
def administration():
    return me()


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.getenv("PORT", "9202")))
