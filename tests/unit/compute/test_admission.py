"""Admission: never more than there is, first come first served, and each decision says why."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.admission import Asking, Verdict, admit
from headwater.compute.work import Capacity
from headwater.core.steps import Resources

HALL = {"local": Capacity(cpus=4, memory_gib=8, accelerators={"h20": 2})}

resources = st.builds(
    Resources,
    cpus=st.sampled_from([0.5, 1, 2, 3, 5]),
    memory_gib=st.sampled_from([0.5, 1, 4, 9]),
    accelerators=st.dictionaries(st.sampled_from(["h20", "mlu590"]), st.integers(1, 3), max_size=2),
)
queues = st.lists(resources, max_size=12).map(
    lambda asked: [Asking(job=f"j{number}", engine="local", resources=one) for number, one in enumerate(asked)]
)


def started(queue: list[Asking], running: list[Resources]) -> list[Resources]:
    decisions = {one.job: one.verdict for one in admit(queue, HALL, {"local": running})}
    return [one.resources for one in queue if decisions[one.job] is Verdict.START]


@given(queues, st.lists(resources, max_size=2))
def test_it_never_gives_out_more_than_there_is(queue: list[Asking], running: list[Resources]) -> None:
    fresh = started(queue, running)
    if not fresh:
        return
    everything = running + fresh
    assert sum(one.cpus for one in everything) <= 4
    assert sum(one.memory_gib for one in everything) <= 8
    assert sum(one.accelerators.get("h20", 0) for one in fresh) <= 2
    assert not any(one.accelerators.get("mlu590", 0) for one in fresh)


@given(queues)
def test_nobody_starts_before_an_earlier_job_that_could_run_at_all(queue: list[Asking]) -> None:
    verdicts = [one.verdict for one in admit(queue, HALL, {})]
    possible = [one for one in verdicts if one is not Verdict.NEVER]
    assert possible == sorted(possible, key=lambda one: one is Verdict.WAIT)


@given(queues)
def test_a_job_that_fits_an_empty_engine_starts_when_it_comes_first(queue: list[Asking]) -> None:
    decisions = admit(queue, HALL, {})
    first = next((one for one in decisions if one.verdict is not Verdict.NEVER), None)
    assert first is None or first.verdict is Verdict.START


def test_reasons_give_the_figures() -> None:
    big, small = Resources(cpus=3), Resources(cpus=2)
    queue = [Asking(job=name, engine="local", resources=one) for name, one in (("a", big), ("b", small), ("c", Resources(cpus=5)))]
    a, b, c = admit(queue, HALL, {})
    assert "had 4 of 4 CPUs" in a.reason
    assert "asks for 2 CPUs where 1 are free" in b.reason
    assert (c.verdict, "5 CPUs where 4 are in all" in c.reason) == (Verdict.NEVER, True)


def test_an_engine_that_is_not_there_is_said_so() -> None:
    (decision,) = admit([Asking(job="a", engine="slurm", resources=Resources())], HALL, {})
    assert decision.verdict is Verdict.NEVER
    assert "no engine 'slurm' here" in decision.reason
