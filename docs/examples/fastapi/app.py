"""A FastAPI service behind Genkan, which says who is calling in a signed assertion."""

import os
from typing import Annotated

import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

ISSUER = os.getenv("GENKAN_ISSUER", "http://localhost:8000")
JWKS_URL = os.getenv("GENKAN_JWKS_URL", f"{ISSUER}/.well-known/jwks.json")
AUDIENCE = os.getenv("AUDIENCE", "/api/fastapi/")

# Kept two minutes; fetched anew for an unknown key, at most every five seconds.
keys = jwt.PyJWKClient(JWKS_URL, lifespan=120, cooldown_duration=5, timeout=5)
app = FastAPI()


class User(BaseModel):
    sub: str
    email: str | None = None
    groups: list[str] = []


def current_user(
    bearer: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
) -> User:
    try:
        token = jwt.decode_complete(
            bearer.credentials,
            keys.get_signing_key_from_jwt(bearer.credentials),
            algorithms=["ES256", "EdDSA"],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=5,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        if token["header"].get("typ") != "JWT":
            raise jwt.InvalidTokenError("not an assertion")
    except jwt.PyJWKClientConnectionError as error:
        raise HTTPException(503, "Genkan's keys cannot be fetched") from error
    except jwt.PyJWTError as error:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise HTTPException(401, "invalid token", challenge) from error
    return User(**token["payload"])


def admin(user: Annotated[User, Depends(current_user)]) -> User:
    if "admins" not in user.groups:
        raise HTTPException(403, "only for the group admins")
    return user


@app.get("/me")
def me(user: Annotated[User, Depends(current_user)]) -> User:
    return user


@app.get("/admin")
def administration(user: Annotated[User, Depends(admin)]) -> User:
    return user


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.getenv("PORT", "9201")))
