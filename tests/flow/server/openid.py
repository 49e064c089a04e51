"""A real OpenID Connect provider on the loopback address, which can be told to misbehave.

It keeps the rules that a client may count on (RFC 6749, RFC 7636, OpenID Connect Core): a code is
good once, for the client, address and verifier that it was asked with.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "headwater-test", "client secret: with/odd characters %"


@dataclass
class OpenId:
    """The provider: who signs in next, what was asked of it, and how it misbehaves."""

    issuer: str = ""
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "preferred_username": "lin.fang", "groups": ["engineers"]})
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"}))
    published: list[dict[str, Any]] | None = None
    change: Callable[[dict[str, Any]], None] = lambda claims: None
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256", "kid": "one"})
    signer: RSAKey | None = None
    secret: bytes = b""
    refuses: str = ""
    described: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)

    def description(self) -> dict[str, Any]:
        """Return the discovery document."""
        at = self.issuer
        told = {"issuer": at, "authorization_endpoint": f"{at}/authorize", "token_endpoint": f"{at}/token", "jwks_uri": f"{at}/jwks"}
        return told | {"id_token_signing_alg_values_supported": ["RS256"], "subject_types_supported": ["public"]} | self.described

    def authorised(self, asked: dict[str, str]) -> str:
        """Return where the browser goes back to: with a code, or with the error that this provider was told to give."""
        self.asked.append(asked)
        back = {"state": asked["state"]}
        if self.refuses:
            return f"{asked['redirect_uri']}?{urlencode(back | {'error': self.refuses})}"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        self.given.append(code)
        return f"{asked['redirect_uri']}?{urlencode(back | {'code': code, 'iss': self.issuer})}"

    def exchanged(self, form: dict[str, str], basic: str) -> tuple[int, dict[str, Any]]:
        """Return the answer to a code: an ID token, or why not."""
        client, _, password = base64.b64decode(basic).decode().partition(":")
        if (unquote(client), unquote(password)) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client", "error_description": f"{client} {password}"}
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if asked is None or asked["code_challenge"] != _base64(digest) or asked["redirect_uri"] != form.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]} | self.person
        self.change(claims)
        return 200, {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "id_token": self._signed(claims)}

    def keys(self) -> dict[str, Any]:
        """Return the public keys."""
        return {"keys": [self.key.as_dict(private=False)] if self.published is None else self.published}

    def _signed(self, claims: dict[str, Any]) -> str:
        signed = ".".join(_base64(json.dumps(one).encode()) for one in (self.header, claims))
        if self.header["alg"] == "none":
            return f"{signed}."
        if self.secret:
            return f"{signed}.{_base64(hmac.digest(self.secret, signed.encode(), 'sha256'))}"
        return jwt.encode(self.header, claims, self.signer or self.key, algorithms=[self.header["alg"]])


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


@contextmanager
def provider() -> Iterator[OpenId]:
    """Give a running provider; its server ends with the context."""
    openid = OpenId()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            where = urlsplit(self.path)
            if where.path == "/authorize":
                self.send_response(302)
                self.send_header("location", openid.authorised({key: value[0] for key, value in parse_qs(where.query).items()}))
                self.end_headers()
                return
            found = {"/.well-known/openid-configuration": openid.description, "/jwks": openid.keys}.get(where.path)
            self._json(200, found()) if found else self._json(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            basic = self.headers.get("authorization", "").removeprefix("Basic ")
            self._json(*openid.exchanged({key: value[0] for key, value in parse_qs(body).items()}, basic))

        def _json(self, status: int, told: dict[str, Any]) -> None:
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    openid.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield openid
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
