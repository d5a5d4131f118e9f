"""The public keys of an issuer, by which joserfc verifies."""

from threading import Lock
from time import monotonic

import requests
from flask import abort
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet


class Keys:
    """Kept for two minutes. For an unknown key they are fetched anew, at most every
    five seconds, so that nobody makes this service a flood of requests."""

    def __init__(self, url):
        self.url, self.known, self.fetched = url, {}, float("-inf")
        self.lock = Lock()

    def find(self, token):
        kid = token.headers().get("kid")
        with self.lock:
            age = monotonic() - self.fetched
            if age > 120 or (age > 5 and kid not in self.known):
                self.fetch()
            if kid not in self.known:
                raise InvalidKeyIdError()
            return self.known[kid]

    def fetch(self):
        try:
            answer = requests.get(self.url, timeout=5, allow_redirects=False)
            answer.raise_for_status()
            keys = KeySet.import_key_set(answer.json())
        except requests.RequestException:
            abort(503, "Genkan's keys cannot be fetched")
        self.known = {key.kid: key for key in keys}
        self.fetched = monotonic()
