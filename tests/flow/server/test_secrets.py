"""Secrets stay where they are meant to be: a real server at its most talkative is used, and all that it leaves is searched."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import MetaData, create_engine, select

from headwater.core import web
from tests.flow.server.conftest import form_token
from tests.flow.server.openid import CLIENT, SECRET, OpenId, provider

DATABASE = "databasepassword4711"
PASSWORD, WRONG_PASSWORD = "paper lantern over the river", "seven herons at the weir"
SLURM = "eyJhbGciOiJIUzI1NiJ9.c2x1cm0.c2lnbmF0dXJl"
PROJECT = """\
schema: headwater.project/1
name: nosy
steps:
  look:
    run: [sh, -c, "env; tr '\\\\0' '\\\\n' < /proc/self/environ; ls -la"]
"""


@dataclass
class Served:
    """A server in a process of its own, what it was told in secret, and what it said."""

    address: str
    data: Path
    logged: Path
    once: str
    openid: OpenId
    answers: list[str] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)

    def ask(self, client: httpx.Client, method: str, path: str, *, keep: bool = True, **rest: Any) -> httpx.Response:
        """Ask, and keep the answer among those that are searched."""
        answer = client.request(method, path, **rest)
        if keep:
            headers = {name: value for name, value in answer.headers.items() if name != "set-cookie"}  # where a session belongs
            self.answers.append(f"{answer.status_code} {headers} {answer.text}")
        return answer

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, trust_env=False, timeout=60, headers={"accept": "text/html"})


def up(data: Path) -> list[str]:
    return [sys.executable, "-m", "headwater", "up", "--port", "0", "--data", str(data), "--json"]


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "HW_"))}
    return kept | {f"HEADWATER_{name.upper()}": value for name, value in settings.items()}


@pytest.fixture
def served(tmp_path: Path, postgres: str) -> Iterator[Served]:
    """Give a server with a database password and a provider's secret, logging all that it can."""
    (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
    data, logged = tmp_path / "data", tmp_path / "log"
    with provider() as openid:
        told = {
            "log_level": "debug",
            "database_url": postgres.replace("headwater@", f"headwater:{DATABASE}@") + "/postgres",
            "oidc_issuer": openid.issuer,
            "oidc_client_id": CLIENT,
            "oidc_client_secret_file": str(tmp_path / "secret"),
            "oidc_roles": json.dumps({"engineers": "developer@city"}),
        }
        with logged.open("w") as log:
            process = subprocess.Popen(up(data), stdout=subprocess.PIPE, stderr=log, text=True, env=environment(**told))
        assert process.stdout is not None
        try:
            text = ""
            while not text.endswith("}\n"):
                line = process.stdout.readline()
                assert line, logged.read_text()
                text += line
            printed = json.loads(text)
            once = printed["admin_link"].partition("link=")[2]
            yield Served(address=printed["address"], data=data, logged=logged, once=once, openid=openid)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            process.stdout.close()


def form(client: httpx.Client, path: str = "/sign-in") -> str:
    return form_token(client.get(path).text)


def administrator(served: Served) -> httpx.Client:
    """Sign in with the one-time link, make a token, and return a client that sends it."""
    with served.browser() as browser:
        link = browser.get(f"/sign-in?link={served.once}").text
        spent = browser.post("/sign-in", data={"token": served.once, "csrf": form_token(link)})
        assert spent.status_code == 303, spent.text
        served.secrets |= {"one-time token": served.once, "session": browser.cookies[web.SESSION_COOKIE]}
        again = browser.post("/sign-in", data={"token": served.once, "csrf": form(browser, "/account")})
        served.answers.append(again.text)
        signed = browser.post("/sign-in", data={"token": "hw_api_wrongwrongwrong", "csrf": form(browser, "/account")})
        served.answers.append(signed.text)
        made = browser.post("/account/tokens", data={"label": "work", "csrf": form(browser, "/account")}).text
        token = re.search(r"hw_api_[\w-]+", made)
        assert token is not None, made
    served.secrets |= {"API token": token[0], "wrong token": "hw_api_wrongwrongwrong"}
    return httpx.Client(base_url=served.address, trust_env=False, timeout=60, headers={"authorization": f"Bearer {token[0]}"})


def use_passwords(served: Served, admin: httpx.Client) -> None:
    person = served.ask(admin, "POST", "/api/people", json={"name": "li.wei", "organisation": "city"}).json()["id"]
    served.ask(admin, "POST", f"/api/people/{person}/grants", json={"role": "viewer", "scope": "city", "reason": "new here"})
    assert served.ask(admin, "POST", f"/api/people/{person}/password", json={"password": PASSWORD}).status_code == 204
    served.ask(admin, "POST", f"/api/people/{person}/password", json={"password": PASSWORD, "more": 1})
    served.ask(admin, "POST", f"/api/people/{person}/password", json={"password": [WRONG_PASSWORD]})
    served.ask(admin, "POST", f"/api/people/{person}/password", json={"password": WRONG_PASSWORD[:14]})
    with served.browser() as browser:
        for password in (WRONG_PASSWORD, PASSWORD):
            served.ask(browser, "POST", "/sign-in", data={"name": "li.wei", "password": password, "csrf": form(browser)})
        served.secrets |= {"second session": browser.cookies[web.SESSION_COOKIE]}
    served.secrets |= {"password": PASSWORD, "wrong password": WRONG_PASSWORD, "short password": WRONG_PASSWORD[:14]}


def use_provider(served: Served, secret: Path) -> None:
    for wrong in (False, True):
        secret.write_text("another secret of the client" if wrong else SECRET, encoding="utf-8")
        with served.browser() as browser:
            sent = browser.get("/sign-in/oidc")
            served.secrets[f"attempt {wrong}"] = browser.cookies["headwater_sign_in"]
            back = httpx.get(sent.headers["location"], trust_env=False).headers["location"]
            answer = served.ask(browser, "GET", back.removeprefix(served.address))
            assert answer.status_code == (401 if wrong else 200), answer.text
    served.secrets |= {f"code {number}": code for number, code in enumerate(served.openid.given)}
    served.secrets |= {"client secret": SECRET, "other client secret": "another secret of the client"}


def run_project(served: Served, admin: httpx.Client) -> str:
    """Run a job that tells all of its environment, and return what it told."""
    run = served.ask(admin, "POST", "/api/runs", json={"text": PROJECT})
    assert run.status_code == 201, run.text
    job, until = run.json()["jobs"][0]["id"], time.monotonic() + 60
    while admin.get(f"/api/jobs/{job}").json()["state"] not in ("done", "failed"):
        assert time.monotonic() < until, served.logged.read_text()[-2000:]
        time.sleep(0.2)
    assert admin.get(f"/api/jobs/{job}").json()["state"] == "done"
    return served.ask(admin, "GET", f"/api/jobs/{job}/log").text


def provoke(served: Served, admin: httpx.Client) -> None:
    """Make mistakes of each kind, with secrets in the places where people put them by mistake."""
    token = served.secrets["API token"]
    for method, path in (
        ("GET", f"/api/jobs/{token}"),
        ("GET", f"/api/no/such/{token}"),
        ("GET", f"/api/ledger?kind={token}"),
        ("PUT", "/api/tokens"),
        ("POST", "/api/tokens"),
        ("POST", f"/api/tokens/{token}/revoke"),
        ("POST", "/api/statements"),
    ):
        admin.request(method, path)  # the answer may name what was asked for: it goes to the one who sent it
    served.ask(admin, "POST", "/api/tokens", content=b"{" + PASSWORD.encode())
    served.ask(admin, "POST", "/api/people", json={"name": "li.wei", "organisation": "city"})
    with served.browser() as stranger:
        served.ask(stranger, "GET", "/api/me", headers={"authorization": "Bearer hw_api_wrongwrongwrong"})
    served.openid.described = {"issuer": "https://evil.example"}
    with served.browser() as browser:
        served.ask(browser, "GET", "/sign-in/oidc")


def everything_kept(served: Served, database: str) -> Iterator[tuple[str, str]]:
    """Yield the name and text of all that the server left: log, answers, files, every table."""
    yield "the log", served.logged.read_text()
    yield "the answers", "\n".join(served.answers)
    for path in served.data.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(served.data)), path.read_bytes().decode("utf-8", "replace")
    engine, tables = create_engine(database), MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        for table in tables.sorted_tables:
            yield f"table {table.name}", "\n".join(str(tuple(row)) for row in connection.execute(select(table)))
    engine.dispose()


def test_no_secret_is_found_in_log_ledger_answers_job_folders_metrics_or_any_table(served: Served, postgres: str, tmp_path: Path) -> None:
    with administrator(served) as admin:
        use_passwords(served, admin)
        use_provider(served, tmp_path / "secret")
        told = run_project(served, admin)
        provoke(served, admin)
        for path in ("/metrics", "/api/ledger?limit=200", "/api/tokens", "/api/people", "/api/jobs", "/openapi.json"):
            assert served.ask(admin, "GET", path).status_code == 200
    served.secrets |= {"database password": DATABASE}
    assert "PATH=" in told
    assert "HEADWATER_DATABASE_URL" not in told
    texts = dict(everything_kept(served, postgres + "/postgres"))
    assert '"event": "http.request"' in texts["the log"]
    assert {"table ledger_entry", "table token", "table password", "table sign_in_attempt"} <= texts.keys()
    assert len(served.secrets) >= 14
    found = [f"{secret} in {name}" for name, text in texts.items() for secret, value in served.secrets.items() if value in text]
    assert found == []


def test_a_slurm_token_and_a_database_password_are_not_told_where_the_server_cannot_start(tmp_path: Path, postgres: str) -> None:
    (tmp_path / "slurm").write_text(SLURM, encoding="utf-8")
    slurm = {"slurm": "true", "slurm_url": "http://127.0.0.1:1", "slurm_user": "headwater", "slurm_token_file": str(tmp_path / "slurm")}
    away = {"database_url": f"postgresql+pg8000://headwater:{DATABASE}@127.0.0.1:1/postgres"}
    for number, (settings, why) in enumerate(((slurm, "slurmrestd does not answer"), (away, "The database cannot be opened"))):
        told = environment(log_level="debug", **settings)
        ended = subprocess.run(up(tmp_path / f"data{number}"), capture_output=True, text=True, env=told, timeout=60)
        said = ended.stdout + ended.stderr
        assert (ended.returncode, why in said) == (3, True), said
        assert not [secret for secret in (SLURM, DATABASE) if secret in said]


def test_an_error_of_the_database_does_not_tell_the_values(tmp_path: Path) -> None:
    from sqlalchemy.exc import IntegrityError

    from headwater.core.db import Database
    from headwater.core.identity import organisations

    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    try:
        organisations.create(database.engine())
        values = {"path": "a secret value", "title": "t"}
        database.write(lambda connection: connection.execute(organisations.insert().values(**values)))
        with pytest.raises(IntegrityError) as refused:
            database.write(lambda connection: connection.execute(organisations.insert().values(**values)))
        assert "a secret value" not in str(refused.value)
    finally:
        database.close()
