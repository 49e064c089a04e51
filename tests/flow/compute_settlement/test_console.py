"""Usage and settlement as people meet them: pages, CSV, routes, the command line, figures for Prometheus, and the plan's indicator."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, text

from headwater.compute.settlement import rebuilding, statements
from headwater.compute.settlement.periods import month_of, period
from headwater.core import identity, statement
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.statement import USAGE, Statement
from headwater.server.app import create_app
from tests.flow.cli.test_commands import headwater
from tests.flow.compute_settlement.settled import H20, organisation, priced, used
from tests.flow.server.in_process import TestClient

Client = Callable[..., TestClient]
CARD = """
schema = "headwater.rates/1"
core_fen_per_h = "12.5"
[accelerator_fen_per_h]
h20 = "700"
[[windows]]
from = "00:00"
to = "07:00"
percent = "60"
"""


@pytest.fixture
def busy(site: Platform) -> Platform:
    """Give a platform that used two sites in the last hours: three of four accelerator-hours on domestic chips."""
    now = site.clock.now()
    organisation(site, "city/a", "city/b")
    for engine in ("local", "north"):
        priced(site, engine, at=now - timedelta(days=2))
    used(site, "one", at=now, organisation="city/a", hours=2)
    used(site, "two", at=now, organisation="city/b", engine="north")
    used(site, "three", at=now, organisation="city/b", engine="north", accelerators=H20)
    return site


@pytest.fixture
def client(busy: Platform) -> Client:
    """Give what makes a client of a person with a role in a scope."""

    def make(role: str = "admin", scope: str = "city") -> TestClient:
        now = busy.clock.now()

        def work(connection: Connection) -> str:
            person = identity.add_person(connection, f"{role} of {scope}", scope, actor=SYSTEM, at=now)
            identity.grant(connection, person, role, scope, reason="test", actor=SYSTEM, at=now)
            return identity.issue_token(connection, person, kind="api", label="t", lasts=timedelta(hours=1), at=now)

        return TestClient(create_app(busy), headers={"authorization": f"Bearer {busy.db.write(work)}"}, follow_redirects=False)

    return make


def month(site: Platform) -> str:
    return month_of(site.clock.now()).label


def test_the_usage_page_shows_use_budget_and_the_domestic_share(busy: Platform, client: Client) -> None:
    admin = client()
    made = admin.post("/api/settlement/budgets", json={"organisation": "city/a", "period": month(busy), "fen": 1000})
    assert (made.status_code, made.json()["spent_fen"], made.json()["left_fen"]) == (201, 2 * 870, -740)
    shown = admin.get("/usage").text
    assert "75.0 %" in shown
    assert "17.40 / 10.00" in shown
    assert "Accelerator-hours a day" in shown
    assert "no accelerator was used" in admin.get("/usage?period=2020").text
    assert admin.get("/usage?period=soon").status_code == 422
    assert "国产占比" in admin.get("/usage?lang=zh").text


def test_people_see_the_usage_of_their_own_organisation_only(client: Client) -> None:
    viewer = client("viewer", "city/a")
    assert {one["organisation"] for one in viewer.get("/api/usage").json()["lines"]} == {"city/a"}
    assert "city/b" not in viewer.get("/usage").text
    assert viewer.get("/api/usage?organisation=city/b").status_code == 403
    assert viewer.get("/settlement").status_code == 403
    assert client("auditor").get("/settlement").status_code == 200


def test_a_statement_reads_the_same_after_the_tables_are_made_anew(busy: Platform, client: Client) -> None:
    admin, path = client(), f"/settlement/north/{month(busy)}"
    page, csv = admin.get(path), admin.get(path + ".csv")
    assert "15.90" in page.text, "870 and 720 fen"
    assert csv.headers["content-type"].startswith("text/csv")
    assert csv.text.splitlines()[-1].startswith(f"total,north {month(busy)}")

    def wiped(connection: Connection) -> None:
        for name in ("usage_record", "rate_card"):
            connection.execute(text(f"delete from {name}"))

    busy.db.write(wiped)
    assert admin.get(path).status_code == 404
    busy.db.write(rebuilding.rebuild)
    assert (admin.get(path).content, admin.get(path + ".csv").content) == (page.content, csv.content)
    overview = admin.get("/settlement").text
    assert f'href="{path}">15.90' in overview


def test_a_voucher_is_issued_redeemed_by_its_holder_and_refused_to_others(busy: Platform, client: Client) -> None:
    admin, holder, other = client(), client("developer", "city/a"), client("developer", "city/b")
    end = (busy.clock.now() + timedelta(days=9)).isoformat()
    wanted = {"organisation": "city/a", "fen": 5000, "expires_at": end, "reason": "seed grant"}
    assert holder.post("/api/settlement/vouchers", json=wanted).status_code == 403
    assert client("operator", "city/a").post("/api/settlement/vouchers", json=wanted).status_code == 403, "nobody grants to themselves"
    code = admin.post("/api/settlement/vouchers", json=wanted).json()["code"]
    admin.post("/api/settlement/budgets", json={"organisation": "city/a", "period": month(busy), "fen": 0})
    assert other.post("/api/settlement/vouchers/redeem", json={"code": code}).status_code == 403
    assert holder.post("/api/settlement/vouchers/redeem", json={"code": code}).json()["state"] == "redeemed"
    again = holder.post("/api/settlement/vouchers/redeem", json={"code": code})
    assert (again.status_code, "redeemed before" in again.json()["detail"]) == (409, True)
    assert [one["left_fen"] for one in holder.get("/api/settlement/budgets").json()] == [5000 - 1740]
    assert "redeemed" in holder.get("/usage").text
    assert code not in admin.get("/usage").text
    assert other.get("/api/settlement/vouchers").json() == []


def test_a_dispute_goes_through_the_routes_to_an_adjusted_statement(busy: Platform, client: Client) -> None:
    admin = client()
    opened = admin.post("/api/settlement/disputes", json={"site": "north", "key": "g-two.j.1", "claim": "half an hour too long"}).json()
    path = f"/api/settlement/disputes/{opened['id']}"
    assert admin.post(path + "/answer", json={"answer": "agreed"}).json()["state"] == "answered"
    assert admin.post(path + "/settle", json={"adjustment_fen": -435, "settlement": "half"}).json()["state"] == "settled"
    assert admin.post(path + "/settle", json={"adjustment_fen": 0, "settlement": "again"}).status_code == 409
    told = admin.get(f"/api/settlement/statements/north/{month(busy)}").json()
    assert (told["due_fen"], told["adjusted_fen"], told["organisations"]["city/b"]["charge_fen"]) == (1155, -435, 1590)
    assert "-4.35" in admin.get(f"/settlement/north/{month(busy)}").text
    assert "half an hour too long" in admin.get("/settlement").text


def test_prometheus_gets_what_was_used_and_the_domestic_share(client: Client) -> None:
    found = {}
    for family in text_string_to_metric_families(client().get("/metrics").text):
        for sample in family.samples:
            found[sample.name, tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    assert found["headwater_domestic_share", ()] == 0.75
    assert found["headwater_usage_accelerator_seconds_total", ("north", "city/b")] == 7200
    assert found["headwater_usage_domestic_accelerator_seconds_total", ("north", "city/b")] == 3600
    assert found["headwater_usage_charge_fen_total", ("local", "city/a")] == 1740


def test_the_plans_domestic_share_follows_the_newest_signed_statement_of_each_site(busy: Platform, client: Client) -> None:
    admin = client()

    def share() -> tuple[str, float | None]:
        every = [one for clause in admin.get("/api/plan").json()["clauses"] for one in clause["indicators"]]
        return next((one["state"], one["value"]) for one in every if one["id"] == "D12")

    assert share() == ("measured", None)
    signed = admin.post(f"/api/settlement/statements/north/{month(busy)}")
    assert signed.status_code == 201, signed.text
    assert share() == ("measured", 50.0)
    admin.post(f"/api/settlement/statements/local/{month(busy)}")
    admin.post(f"/api/settlement/statements/north/{month(busy)[:4]}")
    assert share() == ("measured", 75.0)


def test_the_command_line_prices_states_and_reconciles(busy: Platform, tmp_path: Path) -> None:
    data = ["--data", str(busy.settings.data_folder), "--json"]
    (tmp_path / "card.toml").write_text(CARD, encoding="utf-8")

    def told(*command: str) -> object:
        done = headwater(*command, *data)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert told("settle", "rates", "set", "south", str(tmp_path / "card.toml"))["version"] == 1  # type: ignore[index]
    assert len(told("settle", "rates", "list")) == 3  # type: ignore[arg-type]
    usage = told("usage", "--organisation", "city/b")
    assert [(one["site"], one["records"], one["charge_fen"]) for one in usage["lines"]] == [("north", 2, 1590)]  # type: ignore[index]
    day = month(busy)
    signed = told("settle", "statement", "north", day, "--sign", str(tmp_path / "ours.json"))
    assert signed["due_fen"] == 1590  # type: ignore[index]
    assert statement.read((tmp_path / "ours.json").read_text()).digest == signed["signed"]  # type: ignore[index]
    csv = headwater("settle", "statement", "north", day, "--csv", "--data", str(busy.settings.data_folder))
    with busy.db.read() as connection:
        assert csv.stdout == statements.as_csv(statements.read(connection, "north", period(day)))

    key = Ed25519PrivateKey.generate()
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    told("settle", "trust", "north", public)
    said = json.loads(json.dumps(statement.parse(statement.read((tmp_path / "ours.json").read_text()).payload).predicate))
    said |= {"account_of": "supplier", "lines": said["lines"][:1]}
    claim = Statement(subjects=(statements.subject_of("north"),), predicate_type=USAGE, predicate=said, issued_at=busy.clock.now())
    (tmp_path / "theirs.json").write_text(statement.sign(claim, key).to_json(), encoding="utf-8")
    found = told("settle", "reconcile", str(tmp_path / "theirs.json"))
    assert (found["agreed"], [one["kind"] for one in found["differences"]]) == (1, ["missing_there"])  # type: ignore[index]
    assert told("settle", "rebuild")["entries"] == 6  # type: ignore[index]


def test_the_command_line_keeps_budgets_vouchers_and_disputes(busy: Platform) -> None:
    data = ["--data", str(busy.settings.data_folder), "--json"]

    def told(*command: str, status: int = 0) -> object:
        done = headwater(*command, *data)
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout) if status == 0 else done.stderr

    assert told("settle", "budget", "set", "city/a", month(busy), "--fen", "2000")["left_fen"] == 260  # type: ignore[index]
    code = told("settle", "voucher", "issue", "city/a", "--fen", "100", "--reason", "seed grant")["code"]  # type: ignore[index]
    assert told("settle", "voucher", "redeem", code)["period"] == month(busy)  # type: ignore[index]
    assert "was redeemed before" in str(told("settle", "voucher", "redeem", code, status=1))
    assert [one["state"] for one in told("settle", "voucher", "list")] == ["redeemed"]  # type: ignore[attr-defined]
    assert [one["left_fen"] for one in told("settle", "budget", "list")] == [360]  # type: ignore[attr-defined]
    name = told("settle", "dispute", "open", "north", "g-two.j.1", "--claim", "too long")["id"]  # type: ignore[index]
    told("settle", "dispute", "answer", name, "--answer", "agreed")
    assert told("settle", "dispute", "settle", name, "--adjustment", "-70", "--settlement", "x x")["adjustment_fen"] == -70  # type: ignore[index]
    assert [one["state"] for one in told("settle", "dispute", "list")] == ["settled"]  # type: ignore[attr-defined]
