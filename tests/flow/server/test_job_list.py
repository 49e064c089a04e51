"""The list of jobs keeps what cannot change any more, and still tells what is there."""

from __future__ import annotations

import random

import pytest

from headwater.compute import jobs, views
from headwater.compute.jobs import ENDS, MOVES, State
from headwater.compute.listing import Listing
from headwater.core import identity
from headwater.core.identity import ROOT, SYSTEM
from headwater.core.platform import Platform
from tests.flow.compute.graphs import command, submit
from tests.flow.server.conftest import Token
from tests.flow.server.in_process import TestClient


def as_read_anew(site: Platform, scopes: list[str], limit: int, state: State | None) -> list[views.JobView]:
    with site.db.read() as connection:
        return [views.view(site, job) for job in jobs.listed(connection, scopes=scopes, limit=limit, state=state)]


def move_one(site: Platform, chance: random.Random) -> None:
    """Take one job that has not ended a step further."""
    with site.db.read() as connection:
        left = jobs.in_states(connection, set(State) - ENDS)
    if left:
        job = chance.choice(left)
        to = chance.choice(sorted(MOVES[job.state]))
        site.db.write(lambda connection: jobs.move(connection, job, to, at=site.clock.now(), actor=SYSTEM, reason=f"was {job.state}"))


@pytest.mark.parametrize("seed", range(5))
def test_it_tells_what_is_there_while_jobs_come_and_go(site: Platform, seed: int) -> None:
    chance, listing = random.Random(seed), Listing(site, most=4)
    site.db.write(lambda connection: identity.add_organisation(connection, "city/a", "A", actor=SYSTEM, at=site.clock.now()))
    for _ in range(40):
        if chance.random() < 0.3:
            submit(site, {"one": command("true"), "two": command("true", needs=("one",))}, organisation=chance.choice([ROOT, "city/a"]))
        move_one(site, chance)
        scopes, limit, state = chance.choice([[ROOT], ["city/a"], []]), chance.choice([1, 3, 50]), chance.choice([None, *State])
        assert listing.newest(scopes=scopes, limit=limit, state=state) == as_read_anew(site, scopes, limit, state)


def test_a_server_asked_again_tells_the_end_of_a_job(site: Platform, anyone: TestClient, token: Token) -> None:
    graph, headers = submit(site, {"one": command("true")}), {"authorization": f"Bearer {token()}"}

    def listed() -> list[tuple[str, str]]:
        return [(job["id"], job["state"]) for job in anyone.get("/api/jobs", headers=headers).json()]

    assert listed() == [(f"{graph}.one", "queued")]
    anyone.post(f"/api/jobs/{graph}.one/cancel", headers=headers)
    assert listed() == listed() == [(f"{graph}.one", "cancelled")]
