"""An OpenID Connect provider as a client sees it: the authorisation-code flow with PKCE (RFC 6749, RFC 7636, OpenID Connect Core 1.0).

The provider's description and keys are asked for at each sign-in: a key that it changed is known at
once, and nothing is remembered that could be stale. Blocking: call it in a worker thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import structlog

from headwater.core.errors import NotSignedIn, Unavailable
from headwater.core.settings import Settings
from headwater.server.oidc.attempts import Secret

LOG = structlog.get_logger()

PATIENCE_S = 10.0
LARGEST_ANSWER = 1 << 20
LEEWAY_S = 60
"""How far the provider's clock may be from ours."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a private key only: none is no signature, and a shared secret would be both sides' key."""
PUBLIC_KEYS = ("RSA", "EC", "OKP")
ERROR_CODE = re.compile(r"[a-z_]{1,60}")
ELSE = "Try again, or sign in another way."


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What a provider says of itself."""

    authorize: str
    token: str
    keys: str
    takes_basic: bool
    """Whether it takes the client's secret in the Authorization header, which is the default; else in the form."""


def discover(settings: Settings) -> Provider:
    """Return the configured provider. Raises Unavailable where it does not answer, or describes another."""
    from authlib.oidc.discovery import get_well_known_url

    told = _json(_get(get_well_known_url(settings.oidc_issuer, external=True)))
    if told.get("issuer") != settings.oidc_issuer:
        raise _broken(f"it calls itself {str(told.get('issuer'))[:200]}")
    methods = told.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    return Provider(
        authorize=_endpoint(settings, told, "authorization_endpoint"),
        token=_endpoint(settings, told, "token_endpoint"),
        keys=_endpoint(settings, told, "jwks_uri"),
        takes_basic="client_secret_basic" in methods,
    )


def address(settings: Settings, provider: Provider, secret: Secret, back: str) -> str:
    """Return where to send the browser, which comes back to `back` with a code."""
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
    from authlib.oauth2.rfc7636 import create_s256_code_challenge

    return str(
        prepare_grant_uri(
            provider.authorize,
            settings.oidc_client_id,
            "code",
            redirect_uri=back,
            scope=settings.oidc_scopes,
            state=secret.state,
            nonce=secret.nonce,
            code_challenge=create_s256_code_challenge(secret.verifier),
            code_challenge_method="S256",
        )
    )


def claims_for(settings: Settings, provider: Provider, secret: Secret, code: str, back: str, *, now: datetime) -> Mapping[str, Any]:
    """Return the checked claims of the ID token that a code is worth.

    Raises NotSignedIn where the provider does not take the code or its token does not hold, Unavailable
    where it does not answer.
    """
    text = _id_token(settings, provider, secret, code, back)
    return verified(text, _json(_get(provider.keys)), settings, nonce=secret.nonce, now=now)


def verified(text: str, keys: Mapping[str, Any], settings: Settings, *, nonce: str, now: datetime) -> Mapping[str, Any]:
    """Return an ID token's claims. Raises NotSignedIn, saying what does not hold: signature, issuer, audience, time or nonce."""
    from authlib.oidc.core import CodeIDToken
    from joserfc import errors, jwt
    from joserfc.jwk import KeySet

    public = [one for one in keys.get("keys", []) if one.get("kty") in PUBLIC_KEYS and one.get("use", "sig") == "sig"]
    client = settings.oidc_client_id
    options: Any = {
        "iss": {"essential": True, "value": settings.oidc_issuer},
        "aud": {"essential": True, "value": client},
        "sub": {"essential": True},
        "exp": {"essential": True},
        "iat": {"essential": True},
    }
    try:
        token = jwt.decode(text, KeySet.import_key_set({"keys": public}), algorithms=ALGORITHMS)
        claims = CodeIDToken(token.claims, token.header, options, {"nonce": nonce, "client_id": client})
        claims.validate(now=round(now.timestamp()), leeway=LEEWAY_S)
    except errors.ExpiredTokenError as error:
        raise _invalid("it has expired") from error
    except (errors.MissingClaimError, errors.InvalidClaimError) as error:
        raise _invalid(f"its claim {error.claim} is not what was asked for") from error
    except (errors.JoseError, ValueError, TypeError, KeyError, AttributeError) as error:  # whatever a stranger's bytes lead to
        raise _invalid("it is not signed by a key of the provider in a way that is taken") from error
    if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
        raise _invalid("its claim sub is no text of 1 to 255 characters")
    return dict(claims)


def _id_token(settings: Settings, provider: Provider, secret: Secret, code: str, back: str) -> str:
    client, password = settings.oidc_client_id, _client_secret(settings)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": secret.verifier}
    basic = None
    if password and provider.takes_basic:
        basic = (quote(client, safe=""), quote(password, safe=""))  # RFC 6749, section 2.3.1
    else:
        form |= {"client_id": client} | ({"client_secret": password} if password else {})
    answer = _send("POST", provider.token, data=form, auth=basic)
    if answer.is_client_error:
        said = _json(answer, strict=False).get("error")
        why = said if isinstance(said, str) and ERROR_CODE.fullmatch(said) else f"status {answer.status_code}"
        raise NotSignedIn(f"The provider did not take the sign-in: {why}.", ELSE)
    text = _json(answer).get("id_token")
    if not isinstance(text, str):
        raise NotSignedIn("The provider gave no ID token.", "Ask whoever runs it to allow the scope openid.")
    return text


def _client_secret(settings: Settings) -> str:
    if not settings.oidc_client_secret_file:
        return ""
    try:
        return Path(settings.oidc_client_secret_file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        LOG.error("oidc.secret_file", file=settings.oidc_client_secret_file, error=type(error).__name__)
        raise Unavailable("The client's secret cannot be read.", "Check oidc_client_secret_file.") from error


def _endpoint(settings: Settings, told: Mapping[str, Any], name: str) -> str:
    """Return an endpoint's address, which must be as well protected as the issuer's own."""
    found = told.get(name)
    if not isinstance(found, str) or urlsplit(found).scheme != urlsplit(settings.oidc_issuer).scheme:
        raise _broken(f"its {name} is missing or not {urlsplit(settings.oidc_issuer).scheme}")
    return found


def _get(url: str) -> httpx.Response:
    return _send("GET", url)


def _send(method: str, url: str, **rest: Any) -> httpx.Response:
    """Return the answer, read whole up to a bound. Raises Unavailable; what goes over the wire is never logged."""
    try:
        with (
            httpx.Client(timeout=PATIENCE_S, follow_redirects=False) as client,
            client.stream(method, url, headers={"accept": "application/json"}, **rest) as answer,
        ):
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if len(body) > LARGEST_ANSWER:
                    raise _broken(f"it answers with more than {LARGEST_ANSWER} bytes")
            return httpx.Response(answer.status_code, content=bytes(body))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _broken(f"it does not answer ({type(error).__name__})") from error


def _json(answer: httpx.Response, *, strict: bool = True) -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError:
        told = None
    if strict and (not answer.is_success or not isinstance(told, dict)):
        raise _broken(f"it answers with status {answer.status_code} and no JSON object")
    return told if isinstance(told, dict) else {}


def _broken(why: str) -> Unavailable:
    LOG.warning("oidc.provider", problem=why)
    return Unavailable(f"The OpenID provider cannot be used: {why}.", ELSE)


def _invalid(why: str) -> NotSignedIn:
    return NotSignedIn(f"The provider's ID token does not hold: {why}.", ELSE)
