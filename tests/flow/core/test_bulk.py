"""Many rows changed in one statement, the same on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection, select
from tests.flow.compute.graphs import command, submit

from headwater.compute.jobs import State, jobs
from headwater.core import bulk
from headwater.core.platform import Platform


@pytest.fixture
def graph(any_site: Platform) -> str:
    return submit(any_site, {name: command("true") for name in ("a", "b", "c")})


def states(site: Platform, graph: str) -> dict[str, tuple[str, str]]:
    with site.db.read() as connection:
        found = connection.execute(select(jobs.c.name, jobs.c.state, jobs.c.reason).where(jobs.c.graph == graph))
        return {name: (state, reason) for name, state, reason in found}


def test_only_rows_that_are_as_they_were_seen_change_and_are_told(any_site: Platform, graph: str) -> None:
    ended_at = any_site.clock.now() + timedelta(hours=1)
    rows = [
        {"id": f"{graph}.{name}", "state": State.DONE, "reason": f'says "{name}" \\ 好', "ended_at": ended_at, "usage": {"wall_s": 1.5}}
        for name in ("a", "b", "none")
    ]
    seen = {
        f"{graph}.a": {"state": State.QUEUED, "attempt": 0},
        f"{graph}.b": {"state": State.QUEUED, "attempt": 1},
        f"{graph}.none": {"state": State.QUEUED, "attempt": 0},
    }

    def change(connection: Connection) -> frozenset[str]:
        return bulk.update_seen(connection, jobs, "id", rows, seen)

    assert any_site.db.write(change) == {f"{graph}.a"}
    assert states(any_site, graph) == {"a": ("done", 'says "a" \\ 好'), "b": ("queued", ""), "c": ("queued", "")}
    with any_site.db.read() as connection:
        row = connection.execute(select(jobs.c.ended_at, jobs.c.usage, jobs.c.organisation).where(jobs.c.id == f"{graph}.a")).one()
    assert (row.ended_at, row.usage, row.organisation) == (ended_at, {"wall_s": 1.5}, "city")
    assert any_site.db.write(change) == frozenset()


def test_no_rows_are_no_statement(any_site: Platform) -> None:
    assert any_site.db.write(lambda connection: bulk.update_seen(connection, jobs, "id", [], {})) == frozenset()
