"""A page in Flask that calls an API in the name of the user who opens it."""

import os

import jwt
import requests
from flask import Flask, abort, g, render_template, request

ISSUER = os.getenv("GENKAN_ISSUER", "http://localhost:8000")
JWKS_URL = os.getenv("GENKAN_JWKS_URL", f"{ISSUER}/.well-known/jwks.json")
AUDIENCE = os.getenv("AUDIENCE", "internal")
API_URL = os.getenv("API_URL", "http://127.0.0.1:9206")

# Kept two minutes; fetched anew for an unknown key, at most every five seconds.
keys = jwt.PyJWKClient(JWKS_URL, lifespan=120, cooldown_duration=5, timeout=5)
app = Flask(__name__)


@app.before_request
def authenticate():
    auth = request.authorization
    if auth is None or auth.type != "bearer" or not auth.token:
        return {"error": "no token"}, 401, {"WWW-Authenticate": "Bearer"}
    try:
        decoded = jwt.decode_complete(
            auth.token,
            keys.get_signing_key_from_jwt(auth.token),
            algorithms=["ES256", "EdDSA"],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=5,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        if decoded["header"].get("typ") != "JWT":
            raise jwt.InvalidTokenError("not an assertion")
    except jwt.PyJWKClientConnectionError:
        abort(503, "Genkan's keys cannot be fetched")
    except jwt.PyJWTError:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        return {"error": "invalid token"}, 401, challenge
    g.user, g.assertion = decoded["payload"], auth.token


@app.get("/")
def page():
    # The assertion may go on because the API has the same audience as this page: one that
    # is meant for this page alone would be refused there, and rightly.
    headers = {"Authorization": f"Bearer {g.assertion}"}
    try:
        answer = requests.get(f"{API_URL}/me", headers=headers, timeout=5)
        answer.raise_for_status()
    except requests.RequestException:
        abort(502, "the API did not answer")
    return render_template("page.html", user=g.user, answer=answer.json())


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=int(os.getenv("PORT", "9205")))
