"""Signing in with an OpenID provider: a real one on this machine, which then misbehaves in every way that we must notice."""

from __future__ import annotations

import shutil
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from joserfc.jwk import RSAKey
from sqlalchemy import select

from headwater.core import identity, ledger, platform, settings, web
from headwater.core.errors import BadInput
from headwater.core.platform import Platform
from headwater.server.app import create_app
from tests.flow.server.in_process import TestClient
from tests.flow.server.openid import CLIENT, SECRET, OpenId, provider

HERE = "http://127.0.0.1:8420"


@pytest.fixture
def openid() -> Iterator[OpenId]:
    """Give a provider that behaves until it is told not to."""
    with provider() as running:
        yield running


@pytest.fixture
def city(tmp_path: Path, founded: Path, openid: OpenId) -> Iterator[Platform]:
    """Give a platform that takes this provider's people, with one district."""
    shutil.copytree(founded, tmp_path / "city")
    (tmp_path / "secret").write_text(SECRET + "\n", encoding="utf-8")
    told: dict[str, Any] = {"oidc_issuer": openid.issuer, "oidc_client_id": CLIENT, "oidc_client_secret_file": str(tmp_path / "secret")}
    roles = {"engineers": "developer@city/haidian", "auditors": "auditor@city"}
    chosen = settings.load(data_folder=tmp_path / "city", public_url=HERE, oidc_roles=roles, **told)
    with platform.opened(chosen) as opened:
        root, now = opened.found(), opened.clock.now()
        opened.db.write(lambda c: identity.add_organisation(c, "city/haidian", "Haidian", actor=root, at=now))
        yield opened


@pytest.fixture
def application(city: Platform) -> FastAPI:
    """Give the whole application of that platform."""
    return create_app(city)


@pytest.fixture
def person(application: FastAPI) -> TestClient:
    """Give a browser that nobody is signed in with."""
    return browser(application)


def browser(application: FastAPI) -> TestClient:
    return TestClient(application, base_url=HERE, follow_redirects=False, headers={"accept": "text/html"})


def to_provider(client: TestClient, goes_to: str = "/jobs") -> str:
    """Go as far as the provider, and return the address that it sends the browser back to."""
    sent = client.get(f"/sign-in/oidc?next={goes_to}")
    assert sent.status_code == 303, sent.text
    return httpx.get(sent.headers["location"], trust_env=False).headers["location"]


def sign_in(client: TestClient, goes_to: str = "/jobs") -> Any:
    return client.get(to_provider(client, goes_to))


def roles(client: TestClient) -> list[tuple[str, str]]:
    return sorted((one["role"], one["scope"]) for one in client.get("/api/me").json()["grants"])


def test_a_person_signs_in_and_is_known_again_by_issuer_and_subject(application: FastAPI, openid: OpenId, person: TestClient) -> None:
    answer = sign_in(person, "/runs")
    assert answer.status_code == 200, answer.text
    assert "content=\"0; url='/runs'\"" in answer.text
    me = person.get("/api/me").json()
    assert (me["name"], me["organisation"], roles(person)) == ("lin.fang", "city", [("developer", "city/haidian")])
    openid.person |= {"preferred_username": "lin.fang-zhao"}
    again = browser(application)
    sign_in(again)
    assert again.get("/api/me").json()["id"] == me["id"]


def test_the_button_shows_where_a_provider_is_set_and_nowhere_else(person: TestClient, anyone: TestClient) -> None:
    assert 'href="/sign-in/oidc?next=/ledger"' in person.get("/sign-in?next=/ledger").text
    assert "/sign-in/oidc" not in anyone.get("/sign-in").text
    assert anyone.get("/sign-in/oidc").status_code == anyone.get("/sign-in/oidc/done").status_code == 404


def test_code_challenge_state_and_nonce_go_out_and_the_secret_stays_in_the_browser(openid: OpenId, person: TestClient) -> None:
    to_provider(person)
    asked = openid.asked[-1]
    assert (asked["response_type"], asked["code_challenge_method"], asked["scope"]) == ("code", "S256", "openid profile email")
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    cookie = next(one for one in person.cookies.jar if one.name == "headwater_sign_in")
    assert cookie.path == "/sign-in/oidc"
    assert str(cookie.value) not in asked.values()


def other_key(openid: OpenId) -> None:
    openid.signer = RSAKey.generate_key(2048, {"kid": "one"})


def unknown_key(openid: OpenId) -> None:
    openid.published = [RSAKey.generate_key(2048, {"kid": "two", "use": "sig"}).as_dict(private=False)]


def no_signature(openid: OpenId) -> None:
    openid.header = {"alg": "none"}


def public_key_as_shared_secret(openid: OpenId) -> None:
    openid.header, openid.secret = {"alg": "HS256", "kid": "one"}, openid.key.as_pem(private=False)


def shared_key_among_the_published(openid: OpenId) -> None:
    openid.header, openid.secret = {"alg": "HS256", "kid": "one"}, b"a secret that everyone can read"
    openid.published = [{"kty": "oct", "kid": "one", "use": "sig", "k": urlsafe_b64encode(openid.secret).decode().rstrip("=")}]


def claim(**values: Any) -> Callable[[OpenId], None]:
    def misbehave(openid: OpenId) -> None:
        openid.change = lambda claims: claims.update(values)

    return misbehave


def without(name: str) -> Callable[[OpenId], None]:
    def misbehave(openid: OpenId) -> None:
        openid.change = lambda claims: claims.pop(name)

    return misbehave


NOT_SIGNED = "it is not signed by a key of the provider in a way that is taken"
MISCHIEF: dict[str, tuple[Callable[[OpenId], None], str]] = {
    "another key": (other_key, NOT_SIGNED),
    "an unknown key": (unknown_key, NOT_SIGNED),
    "no signature": (no_signature, NOT_SIGNED),
    "the public key as a shared secret": (public_key_as_shared_secret, NOT_SIGNED),
    "a shared key among the published": (shared_key_among_the_published, NOT_SIGNED),
    "another's nonce": (claim(nonce="another"), "its claim nonce is not what was asked for"),
    "no nonce": (without("nonce"), "its claim nonce is not what was asked for"),
    "another client": (claim(aud="someone else"), "its claim aud is not what was asked for"),
    "made for two, handed to the other": (claim(aud=[CLIENT, "other"], azp="other"), "its claim azp is not what was asked for"),
    "another issuer": (claim(iss="https://evil.example"), "its claim iss is not what was asked for"),
    "expired": (claim(exp=int(time.time()) - 120), "it has expired"),
    "no end": (without("exp"), "its claim exp is not what was asked for"),
    "made in an hour": (claim(iat=int(time.time()) + 3600), "its claim iat is not what was asked for"),
    "no subject": (without("sub"), "its claim sub is not what was asked for"),
    "an object for a subject": (claim(sub={"a": 1}), "its claim sub is no"),
}


@pytest.mark.parametrize("mischief", MISCHIEF)
def test_an_id_token_that_does_not_hold_signs_nobody_in(city: Platform, openid: OpenId, person: TestClient, mischief: str) -> None:
    misbehave, why = MISCHIEF[mischief]
    misbehave(openid)
    answer = sign_in(person)
    assert answer.status_code == 401, answer.text
    assert f"The provider&#39;s ID token does not hold: {why}" in answer.text
    assert web.SESSION_COOKIE not in person.cookies
    with city.db.read() as connection:
        assert [one.name for one in connection.execute(select(identity.people))] == ["administrator"]


def test_a_clock_that_is_a_little_off_is_forgiven(openid: OpenId, person: TestClient) -> None:
    openid.change = lambda claims: claims.update(iat=claims["iat"] + 30, exp=claims["iat"] - 30)
    assert sign_in(person).status_code == 200


def test_an_answer_with_another_state_or_in_another_browser_is_refused(application: FastAPI, person: TestClient) -> None:
    back = to_provider(person)
    elsewhere = browser(application)
    for client, address in ((elsewhere, back), (person, back.replace("state=", "state=x")), (person, "/sign-in/oidc/done?code=x")):
        answer = client.get(address)
        assert answer.status_code == 401
        assert "This answer belongs to no sign-in of this browser." in answer.text


def test_an_answer_counts_once(openid: OpenId, person: TestClient) -> None:
    back = to_provider(person)
    secret = person.cookies["headwater_sign_in"]
    assert person.get(back).status_code == 200
    person.cookies.set("headwater_sign_in", secret, domain="127.0.0.1", path="/sign-in/oidc")
    replayed = person.get(back)
    assert (replayed.status_code, "This sign-in was finished before" in replayed.text) == (401, True)


def test_a_code_that_was_used_elsewhere_is_the_providers_to_refuse_and_ours_to_report(openid: OpenId, person: TestClient) -> None:
    back = to_provider(person)
    openid.codes.clear()
    answer = person.get(back)
    assert (answer.status_code, "The provider did not take the sign-in: invalid_grant." in answer.text) == (401, True)


def test_anothers_code_in_ones_own_answer_is_stopped_by_the_verifier(application: FastAPI, person: TestClient) -> None:
    stolen = parse_qs(urlsplit(to_provider(browser(application))).query)["code"][0]
    mine = parse_qs(urlsplit(to_provider(person)).query)["state"][0]
    answer = person.get(f"/sign-in/oidc/done?state={mine}&code={stolen}")
    assert (answer.status_code, "invalid_grant" in answer.text) == (401, True)


def test_the_answer_of_another_provider_is_refused(person: TestClient, openid: OpenId) -> None:
    back = to_provider(person)
    answer = person.get(back.replace("iss=http", "iss=https"))
    assert (answer.status_code, "This answer is another provider&#39;s." in answer.text) == (401, True)


def test_what_the_provider_refuses_is_told_by_its_code_only(openid: OpenId, person: TestClient) -> None:
    openid.refuses = "access_denied"
    assert "The provider did not sign you in: access_denied." in sign_in(person).text
    openid.refuses = "<script>alert(1)</script>"
    assert "no reason given" in sign_in(person).text


def test_a_provider_that_is_away_or_describes_another_is_said_to_be(openid: OpenId, person: TestClient) -> None:
    openid.described = {"issuer": "https://evil.example"}
    answer = person.get("/sign-in/oidc")
    assert (answer.status_code, "it calls itself https://evil.example" in answer.text) == (503, True)
    openid.described = {"token_endpoint": "ftp://127.0.0.1/token"}
    assert "its token_endpoint is missing or not http" in person.get("/sign-in/oidc").text


def test_roles_follow_the_groups_at_each_sign_in_and_those_given_here_stay(city: Platform, openid: OpenId, person: TestClient) -> None:
    sign_in(person)
    me, now = person.get("/api/me").json()["id"], city.clock.now()
    city.db.write(lambda c: identity.grant(c, me, "viewer", "city", reason="by hand", actor=identity.SYSTEM, at=now))
    openid.person |= {"groups": ["auditors", "no such group", 7]}
    sign_in(person)
    assert roles(person) == [("auditor", "city"), ("viewer", "city")]
    with city.db.read() as connection:
        withdrawn = [one.body for one in ledger.entries(connection, limit=1000) if one.kind == "role.withdrawn"]
    assert [(one["role"], one["scope"]) for one in withdrawn] == [("developer", "city/haidian")]


def test_a_person_without_a_role_is_known_but_not_let_in(city: Platform, openid: OpenId, person: TestClient) -> None:
    openid.person |= {"groups": []}
    answer = sign_in(person)
    assert (answer.status_code, "lin.fang holds no role here." in answer.text) == (403, True)
    assert web.SESSION_COOKIE not in person.cookies
    with city.db.read() as connection:
        assert "lin.fang" in [one.name for one in connection.execute(select(identity.people))]


def test_nobody_takes_over_an_account_of_the_same_name(openid: OpenId, person: TestClient, city: Platform) -> None:
    openid.person |= {"preferred_username": "administrator"}
    sign_in(person)
    me = person.get("/api/me").json()
    assert me["name"] == "administrator (2)"
    assert me["id"] != city.found()


def test_a_path_to_go_on_to_never_leaves_the_site(person: TestClient) -> None:
    assert "content=\"0; url='/'\"" in sign_in(person, "//evil.example/").text
    assert "content=\"0; url='/runs?x=%27>'\"" in sign_in(person, "/runs%3Fx%3D'%3E").text.replace("&gt;", ">")


def test_a_mapping_that_names_no_role_is_refused(tmp_path: Path) -> None:
    from headwater.server.oidc import people

    wrong = settings.load(data_folder=tmp_path, oidc_roles={"engineers": "wizard@city"})
    with pytest.raises(BadInput, match="oidc_roles.engineers: 'wizard@city' is no role"):
        people.mapping(wrong)
    with pytest.raises(BadInput, match="oidc_issuer"):
        settings.load(data_folder=tmp_path, oidc_issuer="http://id.example")
