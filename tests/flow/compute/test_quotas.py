"""Quotas: set, listed and removed with their ledger entries, never by those whom they bind, and kept by the dispatcher."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from headwater.compute import jobs, quotas
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import NewJob, Spec, State
from headwater.compute.quotas import Quota
from headwater.core import identity, ledger
from headwater.core.errors import NotFound
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources
from headwater.server.app import create_app
from tests.flow.cli.test_commands import headwater
from tests.flow.compute.graphs import ended, until
from tests.flow.server.in_process import TestClient


def organisation(site: Platform, path: str) -> None:
    site.db.write(lambda connection: identity.add_organisation(connection, path, path, actor=SYSTEM, at=site.clock.now()))


def sleepers(site: Platform, owner: str, count: int, cpus: float) -> str:
    graph = f"g-{owner.replace('/', '-')}"
    spec = Spec(argv=("sleep", "0.4"), params={}, inputs={}, resources=Resources(cpus=cpus, memory_gib=0.1))
    new = [NewJob(id=f"{graph}.j{number}", name=f"j{number}", spec=spec, engine="local") for number in range(count)]
    site.db.write(lambda connection: jobs.submit(connection, graph, new, organisation=owner, actor=SYSTEM, at=site.clock.now()))
    return graph


def test_an_organisation_never_holds_more_than_its_quota(any_site: Platform) -> None:
    organisation(any_site, "city/a")
    mine = Quota(organisation="city/a", units=1.0, may_borrow=False)
    any_site.db.write(lambda connection: quotas.put(connection, mine, actor=SYSTEM, at=any_site.clock.now()))
    dispatcher = Dispatcher(any_site)
    graph = sleepers(any_site, "city/a", 6, 0.5)
    dispatcher.start()
    until(any_site, graph, lambda seen: any("city/a holds" in job.reason for job in seen.values()))
    seen = ended(any_site, graph)
    dispatcher.stop()
    assert {job.state for job in seen.values()} == {State.DONE}
    moments = sorted([(job.started_at, 1) for job in seen.values()] + [(job.ended_at, -1) for job in seen.values()])  # type: ignore[type-var]
    held, most = 0, 0
    for _, change in moments:
        held += change
        most = max(most, held)
    assert most == 2, "two jobs of half a CPU, and two CPUs are there"


def test_changes_are_in_the_ledger_and_an_unknown_organisation_is_not_found(site: Platform) -> None:
    now = site.clock.now()
    site.db.write(lambda connection: quotas.put(connection, Quota(organisation="city", units=8, weight=2), actor="li", at=now))
    site.db.write(lambda connection: quotas.put(connection, Quota(organisation="city", units=4), actor="li", at=now))
    site.db.write(lambda connection: quotas.remove(connection, "city", actor="li", at=now))
    with pytest.raises(NotFound, match="has no quota of its own"):
        site.db.write(lambda connection: quotas.remove(connection, "city", actor="li", at=now))
    with pytest.raises(NotFound, match="no organisation city/none"):
        site.db.write(lambda connection: quotas.put(connection, Quota(organisation="city/none"), actor="li", at=now))
    with site.db.read() as connection:
        told = [(one.kind, one.body.get("units")) for one in ledger.entries(connection, kind="quota.*")]
    assert told == [("quota.set", 8.0), ("quota.set", 4.0), ("quota.removed", None)]


def test_nobody_sets_the_quota_that_binds_them(site: Platform) -> None:
    organisation(site, "city/a")
    organisation(site, "city/a/lab")
    now = site.clock.now()

    def operator(connection: identity.Connection) -> str:
        person = identity.add_person(connection, "wu", "city/a", actor=SYSTEM, at=now)
        identity.grant(connection, person, "operator", "city/a", reason="test", actor=SYSTEM, at=now)
        return identity.issue_token(connection, person, kind="api", label="t", lasts=timedelta(hours=1), at=now)

    client = TestClient(create_app(site), headers={"authorization": f"Bearer {site.db.write(operator)}"})
    assert client.post("/api/quotas", json={"organisation": "city/a", "units": 100}).status_code == 403
    assert client.post("/api/quotas", json={"organisation": "city/a/lab", "units": 2}).status_code == 201
    assert [one["organisation"] for one in client.get("/api/quotas").json()] == ["city/a/lab"]
    assert client.post("/api/quotas/remove", json={"organisation": "city/a/lab"}).status_code == 204
    assert client.get("/api/quotas").json() == []


def test_the_command_line_sets_lists_and_removes(site: Platform) -> None:
    data = ["--data", str(site.settings.data_folder), "--json"]
    shown = headwater("quota", "set", "city", "--units", "16", "--weight", "3", "--no-borrow", *data)
    assert shown.returncode == 0, shown.stderr
    listed = json.loads(headwater("quota", "list", *data).stdout)
    assert listed == [{"organisation": "city", "units": 16.0, "weight": 3.0, "may_borrow": False}]
    assert headwater("quota", "remove", "city", *data).returncode == 0
    assert json.loads(headwater("quota", "list", *data).stdout) == []
