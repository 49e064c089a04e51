"""Real processes through the real dispatcher: every attempt leaves one usage record, in the ledger and in the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.compute import jobs
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import State
from headwater.compute.settlement import budgets, records
from headwater.compute.settlement.periods import month_of
from headwater.compute.settlement.records import Outcome, UsageRecord
from headwater.core import ledger, platform, settings
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from tests.flow.compute.graphs import command, ended, submit, until
from tests.flow.compute_settlement.settled import organisation, priced, used


def records_of(site: Platform) -> dict[str, UsageRecord]:
    with site.db.read() as connection:
        return {one.key: one for one in records.of_site(connection, "local", month_of(site.clock.now()))}


def test_each_attempt_is_metered_once_with_the_engines_account(any_site: Platform) -> None:
    priced(any_site)
    dispatcher = Dispatcher(any_site)
    dispatcher.start()
    graph = submit(any_site, {"good": command("sleep", "0.3"), "bad": command("sh", "-c", "exit 3", retries=1)})
    ended(any_site, graph)
    dispatcher.stop()
    made = records_of(any_site)
    assert {key: one.outcome for key, one in made.items()} == {
        f"{graph}.good.1": Outcome.DONE,
        f"{graph}.bad.1": Outcome.FAILED,
        f"{graph}.bad.2": Outcome.FAILED,
    }
    good = made[f"{graph}.good.1"]
    assert good.measured_by == "engine"
    assert 0.3 <= good.core_s / 0.5 < 20
    assert good.cpu_s is not None
    assert good.cpu_s < good.core_s
    assert (good.card, good.energy_kwh) == (1, None)
    with any_site.db.read() as connection:
        bodies = {one.subject: one.body for one in ledger.entries(connection, kind="usage.metered")}
        ledger.verify(connection)
    assert bodies == {key: one.as_json() for key, one in made.items()}


def test_a_cancelled_attempt_is_metered_and_one_that_never_started_is_not(site: Platform) -> None:
    dispatcher = Dispatcher(site)
    dispatcher.start()
    graph = submit(site, {"long": command("sleep", "60", cpus=2), "never": command("sleep", "60", cpus=2)})
    until(site, graph, lambda seen: seen["long"].state is State.RUNNING)
    for name in ("never", "long"):
        site.db.write(lambda connection, name=name: jobs.ask_cancel(connection, f"{graph}.{name}", actor=SYSTEM, at=site.clock.now()))  # type: ignore[misc]
    ended(site, graph)
    dispatcher.stop()
    assert {key: one.outcome for key, one in records_of(site).items()} == {f"{graph}.long.1": Outcome.CANCELLED}


def test_jobs_of_an_organisation_whose_budget_is_spent_wait_and_say_so_while_others_run(any_site: Platform) -> None:
    now, month = any_site.clock.now(), month_of(any_site.clock.now()).label
    organisation(any_site, "city/a", "city/a/lab", "city/b")
    priced(any_site, at=now.replace(year=2025))
    used(any_site, "past", at=now, organisation="city/a/lab")
    any_site.db.write(lambda connection: budgets.put(connection, "city/a", month, 870, actor=SYSTEM, at=now))
    dispatcher = Dispatcher(any_site)
    dispatcher.start()
    blocked = [submit(any_site, {"j": command("true")}, organisation="city/a/lab") for _ in range(20)]
    free = submit(any_site, {"j": command("true")}, organisation="city/b")
    assert ended(any_site, free)["j"].state is State.DONE, "twenty jobs before it that wait for money do not hide it"
    seen = until(any_site, blocked[0], lambda seen: "budget" in seen["j"].reason)["j"]
    assert seen.reason == f"waits: city/a has spent its budget of {month}: 8.70 of 8.70 CNY"
    assert seen.decision is not None
    assert seen.decision["code"] == "budget_spent"
    any_site.db.write(lambda connection: budgets.put(connection, "city/a", month, 100_000, actor=SYSTEM, at=now))
    dispatcher.wake()
    assert ended(any_site, blocked[-1])["j"].state is State.DONE
    dispatcher.stop()


@pytest.mark.parametrize("stated", ["", "capital"])
def test_a_platform_with_and_without_a_sites_file_meters_alike(tmp_path: Path, stated: str) -> None:
    from headwater.compute.catalogue.sites import CAPITAL

    with platform.opened(settings.load(data_folder=tmp_path / "data", sites_file=str(CAPITAL) if stated else "")) as site:
        site.found()
        key = used(site, "a", at=site.clock.now(), engine="beijing-haidian")
        with site.db.read() as connection:
            (made,) = records.of_site(connection, "beijing-haidian", month_of(site.clock.now()))
    assert (made.key, made.accelerator_s) == (key, 3600)
    assert (made.energy_kwh is not None) is bool(stated)
