"""The queue kept at hand by the leader: what it knows from following the ledger is what a fresh reading finds, whoever changed it."""

from __future__ import annotations

import random

import pytest

from headwater.compute import jobs
from headwater.compute.jobs import Input, Job, Move, NewJob, Spec, State
from headwater.compute.live import Live
from headwater.compute.situation import sums_of
from headwater.core import platform, settings
from headwater.core.errors import Conflict
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources


@pytest.fixture
def site(tmp_path, database_url: str):  # type: ignore[no-untyped-def]
    with platform.opened(settings.load(data_folder=tmp_path / "data", database_url=database_url)) as opened:
        opened.found()
        yield opened


def enter(site: Platform, graph: str, count: int, *, owner: str = "city", chance: random.Random | None = None) -> list[str]:
    """Submit a graph of jobs, some of which need earlier ones, and return their ids."""
    pick = chance or random.Random(0)
    new = []
    for number in range(count):
        asked = Resources(cpus=pick.choice([0.5, 1.0, 2.0]), accelerators=pick.choice([{}, {"h20": 1}]))
        spec = Spec(argv=("true",), params={}, inputs=dict[str, Input](), resources=asked)
        needs = frozenset({f"{graph}.j{pick.randrange(number)}"} if number and pick.random() < 0.3 else ())
        new.append(NewJob(id=f"{graph}.j{number}", name=f"j{number}", spec=spec, engine=pick.choice(["local", "any"]), needs=needs))
    site.db.write(lambda connection: jobs.submit(connection, graph, new, organisation=owner, actor=SYSTEM, at=site.clock.now()))
    return [one.id for one in new]


def look(site: Platform, live: Live) -> tuple[list[Job], dict[str, Job]]:
    with site.db.read() as connection:
        live.look(connection)
        return list(live.oldest(connection, 10_000)), dict(live.active)


def change(site: Platform, job: str, chance: random.Random) -> None:
    """Do to a job what anyone may do to it in its state."""
    with site.db.read() as connection:
        one = jobs.get(connection, job)
    if one.state in jobs.ENDS or chance.random() < 0.2:
        site.db.write(lambda connection: jobs.ask_cancel(connection, job, actor=SYSTEM, at=site.clock.now()))
        return
    if one.state in jobs.ON_ENGINE and one.preempted_for is None and chance.random() < 0.2:
        site.db.write(lambda connection: jobs.ask_room(connection, one, for_job="x", why="", at=site.clock.now(), actor=SYSTEM))
        return
    to = chance.choice(sorted(jobs.MOVES[one.state]))
    again = {"preempted_for": None} if to is State.QUEUED else {}
    starts = {"attempt": one.attempt + 1, "engine": "local", "started_at": site.clock.now()} if to is State.STARTING else {}
    site.db.write(lambda connection: jobs.move(connection, one, to, at=site.clock.now(), actor=SYSTEM, **starts, **again))


@pytest.mark.parametrize("seed", range(4))
def test_following_the_ledger_comes_to_what_a_fresh_reading_finds(site: Platform, seed: int) -> None:
    chance, live = random.Random(seed), Live()
    ids: list[str] = []
    for step in range(60):
        if step % 12 == 0:
            ids += enter(site, f"g{step}", 8, chance=chance)
        change(site, chance.choice(ids), chance)
        if chance.random() < 0.5:
            fresh = Live()
            assert look(site, live) == look(site, fresh)
            assert live.sums.planned == fresh.sums.planned == sums_of(live.active.values()).planned
            assert live.sums.stopping == fresh.sums.stopping


def test_more_entries_than_are_asked_for_at_once_are_all_followed(site: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.compute.live.ENTRIES_AT_ONCE", 4)
    live = Live()
    enter(site, "first", 3)
    look(site, live)
    for job in enter(site, "more", 8):  # eight entries and the graph's own: twice as many as are asked for, and one
        site.db.write(lambda connection, job=job: jobs.ask_cancel(connection, job, actor=SYSTEM, at=site.clock.now()))  # type: ignore[misc]
    enter(site, "last", 3)
    assert look(site, live) == look(site, Live())


def test_many_moves_are_one_record_and_leave_out_what_another_writer_moved(site: Platform) -> None:
    ids = enter(site, "g", 6, chance=random.Random(1))
    with site.db.read() as connection:
        queued = [job for job in (jobs.get(connection, one) for one in ids) if job.state is State.QUEUED]
    site.db.write(lambda connection: jobs.ask_cancel(connection, queued[0].id, actor=SYSTEM, at=site.clock.now()))
    values = {"attempt": 1, "started_at": site.clock.now(), "engine": "local", "devices": {"h20": [0]}, "decision": {"code": "started"}}
    moves = [Move(job=job, to=State.STARTING, actor=SYSTEM, reason="it fits", values=values) for job in queued]
    moved = site.db.write(lambda connection: jobs.move_all(connection, moves, at=site.clock.now()))
    assert moved == {job.id for job in queued[1:]}
    with site.db.read() as connection:
        assert {jobs.get(connection, job).devices["h20"][0] for job in moved} == {0}  # type: ignore[index]
        assert {jobs.get(connection, job).key.rpartition(".")[2] for job in moved} == {"1"}
    with pytest.raises(Conflict, match="no longer queued in attempt 0"):
        site.db.write(lambda connection: jobs.move(connection, queued[1], State.FAILED, at=site.clock.now(), actor=SYSTEM))


def test_starts_taken_in_at_once_are_not_read_again_and_differ_in_nothing(site: Platform) -> None:
    live = Live()
    enter(site, "g", 6, chance=random.Random(2))
    queued, _ = look(site, live)
    now = site.clock.now()
    moves = [Move(job=job, to=State.STARTING, actor=SYSTEM, values={"attempt": 1, "started_at": now, "engine": "local"}) for job in queued]
    site.db.write(lambda connection: jobs.move_all(connection, moves, at=now))
    live.started(moves)
    assert look(site, live) == look(site, Live())


def test_each_organisation_comes_into_view_however_many_another_has_queued(site: Platform) -> None:
    live = Live()
    enter(site, "many", 50, owner="city/a")
    enter(site, "few", 3, owner="city/b")
    with site.db.read() as connection:
        live.look(connection)
        seen = live.window(connection, 10, aside=lambda _: False)
        without = live.window(connection, 10, aside=lambda owner: owner == "city/a")
    assert {job.organisation for job in seen} == {"city/a", "city/b"}
    assert {job.organisation for job in without} == {"city/b"}
