"""Running a project again: what was finished and still holds is reused and said so; anything else runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.compute import artifacts
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import Job, State
from headwater.core import evidence, identity
from headwater.core.errors import BadFile, NotFound, Refused
from headwater.core.identity import Actor
from headwater.core.platform import Platform
from headwater.projects import runs
from headwater.projects.runs import Wish
from tests.flow.compute.graphs import ended

PROJECT = """schema: headwater.project/1
name: small
seed: 1
steps:
  prepare:
    uses: data.prepare
    with: {table: file:table.csv, card: file:card.yaml}
"""
CARD = """schema: headwater.card/1
name: small
title: {zh: 小表, en: Small table}
description: {zh: 测试, en: For tests}
licence: CC0-1.0
source: https://example.org/small
creators: [{name: the Headwater developers, organisation: true}]
columns:
  - {name: x, type: integer, minimum: 0, maximum: 100000}
  - {name: y, type: category, values: [0, 1], role: target}
positive: 1
"""


def table(rows: int) -> str:
    return "x,y\n" + "".join(f"{number},{number % 2}\n" for number in range(rows))


@pytest.fixture
def running(site: Platform) -> Iterator[Platform]:
    dispatcher = Dispatcher(site)
    dispatcher.start()
    yield site
    dispatcher.stop()


def run(site: Platform, actor: Actor, *, text: str = PROJECT, rows: int = 200, force: bool = False) -> Job:
    files = {"table.csv": site.store.put_bytes(table(rows).encode()), "card.yaml": site.store.put_bytes(CARD.encode())}
    site.db.write(lambda connection: artifacts.hold(connection, files.values(), actor.organisation, at=site.clock.now()))
    (job,) = ended(site, runs.submit(site, actor, text, files, Wish(force=force)).id).values()
    return job


def test_an_equal_step_is_reused_and_says_which_it_equals(running: Platform, administrator: Actor) -> None:
    first, second = run(running, administrator), run(running, administrator)
    assert (first.state, second.state) == (State.DONE, State.REUSED), (first.error, second.error)
    assert (second.reused_from, second.outputs) == (first.id, first.outputs)
    assert f"equal to job {first.id}" in second.reason


def test_force_runs_it_again_and_makes_the_same_bytes(running: Platform, administrator: Actor) -> None:
    first, second = run(running, administrator), run(running, administrator, force=True)
    assert (second.state, second.outputs) == (State.DONE, first.outputs)


@pytest.mark.parametrize("change", [{"rows": 201}, {"text": PROJECT.replace("seed: 1", "seed: 2")}])
def test_another_input_or_seed_runs(running: Platform, administrator: Actor, change: dict[str, object]) -> None:
    run(running, administrator)
    assert run(running, administrator, **change).state is State.DONE  # type: ignore[arg-type]


def test_a_result_whose_statement_was_revoked_is_not_reused(running: Platform, administrator: Actor) -> None:
    first = run(running, administrator)
    (lineage,) = (first.result or {})["statements"]
    running.db.write(
        lambda connection: evidence.revoke(
            connection, running.keyring, lineage, reason="wrong source", actor="tester", now=running.clock.now()
        )
    )
    assert run(running, administrator).state is State.DONE


def test_a_result_that_is_gone_from_the_store_is_not_reused(running: Platform, administrator: Actor) -> None:
    first = run(running, administrator)
    digits = first.outputs["dataset"].removeprefix("sha256:").removesuffix("/")
    (Path(running.settings.store) / "objects" / digits[:2] / digits[2:]).unlink()
    assert run(running, administrator).state is State.DONE


def test_another_organisation_does_not_get_the_result(running: Platform, administrator: Actor) -> None:
    first = run(running, administrator)

    def add(connection: identity.Connection) -> str:
        now = running.clock.now()
        identity.add_organisation(connection, "city/lab", "Lab", actor="tester", at=now)
        person = identity.add_person(connection, "Lin", "city/lab", actor="tester", at=now)
        identity.grant(connection, person, "developer", "city/lab", reason="test", actor="tester", at=now)
        return person

    person = running.db.write(add)
    with running.db.read() as connection:
        lin = identity.load_actor(connection, person, now=running.clock.now())
    with pytest.raises(NotFound, match="There is no artifact"):
        runs.submit(
            running,
            lin,
            PROJECT,
            {"table.csv": first.spec.inputs["table"].artifact or "", "card.yaml": first.spec.inputs["card"].artifact or ""},
        )
    assert run(running, lin).state is State.DONE
    with pytest.raises(Refused, match=r"may not projects\.run in city"):
        runs.submit(running, lin, PROJECT, {}, Wish(organisation="city"))


def test_an_engine_that_is_not_set_up_is_refused_with_those_that_are(running: Platform, administrator: Actor) -> None:
    text = "schema: headwater.project/1\nname: one\nsteps: {say: {run: [echo]}}\n"
    with pytest.raises(NotFound, match=r"no engine 'slurm' here\. There are: local"):
        runs.submit(running, administrator, text, {}, Wish(engine="slurm"))


def test_a_wrong_project_leaves_nothing_behind(running: Platform, administrator: Actor) -> None:
    with pytest.raises(BadFile, match="There is no file 'table.csv'"):
        runs.submit(running, administrator, PROJECT, {})
    with running.db.read() as connection:
        assert runs.listed(connection, scopes=["city"]) == ()
