"""What only the engine for platform steps does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_bench import Bench

from headwater.compute.engines.inside import InsideEngine
from headwater.compute.work import Phase, Reason, Work
from headwater.core.errors import BadInput
from headwater.core.platform import Platform


@pytest.fixture
def narrow(site: Platform, plugin: str) -> Iterator[Bench]:
    """Give the engine with one thread, so that a second step has to wait."""

    def opened() -> InsideEngine:
        return InsideEngine(site, root=site.settings.data_folder / "platform-jobs", threads=1)

    made = Bench(name="platform", platform=site, environment={"PYTHONPATH": plugin}, open=opened, engine=opened())
    yield made
    made.engine.close()


def test_a_waiting_step_that_is_cancelled_never_begins(narrow: Bench) -> None:
    narrow.engine.submit(narrow.work("first", "wait"))
    narrow.begun("first")
    narrow.engine.submit(narrow.work("second"))
    assert narrow.engine.poll(["second"])["second"].phase is Phase.RUNNING
    narrow.engine.cancel("second")
    ended = narrow.ended("second")
    assert (ended.phase, ended.reason, narrow.starts("second")) == (Phase.FAILED, Reason.CANCELLED, 0)
    narrow.engine.submit(narrow.work("second"))
    assert narrow.ended("second") == ended
    narrow.let_go("first")
    assert narrow.ended("first").phase is Phase.SUCCEEDED


def test_a_step_that_has_begun_is_not_cut_off(narrow: Bench) -> None:
    narrow.engine.submit(narrow.work("one", "wait"))
    narrow.begun("one")
    narrow.engine.cancel("one")
    narrow.let_go("one")
    assert narrow.ended("one").phase is Phase.SUCCEEDED


def test_closing_lets_what_has_begun_end_and_keeps_the_rest_for_later(narrow: Bench) -> None:
    narrow.engine.submit(narrow.work("first", "wait"))
    narrow.begun("first")
    narrow.engine.submit(narrow.work("second"))
    narrow.let_go("first")
    narrow.reopen()
    assert narrow.ended("first").phase is Phase.SUCCEEDED
    if narrow.engine.poll(["second"])["second"].phase is Phase.UNKNOWN:
        narrow.engine.submit(narrow.work("second"))
    assert narrow.ended("second").phase is Phase.SUCCEEDED
    assert narrow.starts("second") == 1


def test_a_sweep_keeps_a_waiting_stray_from_starting(narrow: Bench) -> None:
    narrow.engine.submit(narrow.work("known", "wait"))
    narrow.begun("known")
    narrow.engine.submit(narrow.work("stray"))
    assert narrow.engine.sweep({"known"}) == ["stray"]
    assert narrow.ended("stray").reason is Reason.CANCELLED
    narrow.let_go("known")


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (Work(key="one", argv=("true",)), "commands do not run inside the platform"),
        (Work(key="one", task={"step": "contract.engine"}), "does not run inside the platform"),
    ],
)
def test_only_platform_steps_run_inside(narrow: Bench, work: Work, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        narrow.engine.submit(work)
    assert narrow.engine.poll(["one"])["one"].phase is Phase.UNKNOWN
