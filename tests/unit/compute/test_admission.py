"""Admission: what could never run is refused with the figures, and devices are given out once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.admission import allot, lacking, less, never
from headwater.compute.pool import total
from headwater.compute.work import Capacity
from headwater.core.steps import Resources

HALL = {"local": Capacity(cpus=4, memory_gib=8, accelerators={"h20": 4})}


def test_a_job_that_asks_for_more_than_there_is_in_all_is_refused_with_the_figures() -> None:
    assert "5 CPUs where 4 are in all" in never(Resources(cpus=5), "local", HALL)
    assert "9 GiB of memory where 8.0 are in all" in never(Resources(memory_gib=9), "local", HALL)
    assert "5 h20 where 4 are in all" in never(Resources(accelerators={"h20": 5}), "local", HALL)
    assert "1 mlu590 where 0 are in all" in never(Resources(accelerators={"mlu590": 1}), "local", HALL)


def test_an_engine_that_is_not_there_is_said_so() -> None:
    assert never(Resources(), "slurm", HALL) == "there is no engine 'slurm' here"


def test_accelerators_of_two_kinds_are_refused_because_they_do_not_work_together() -> None:
    assert "several kinds (h20, mlu590)" in never(Resources(accelerators={"h20": 1, "mlu590": 1}), "local", HALL)


def test_a_job_that_fits_an_empty_engine_is_not_refused() -> None:
    assert never(Resources(cpus=4, memory_gib=8, accelerators={"h20": 4}), "local", HALL) == ""


def test_what_is_lacking_is_told_against_what_is_left() -> None:
    free = less(HALL["local"], total([Resources(cpus=3.7), Resources(cpus=0.3, memory_gib=2)]))
    assert lacking(Resources(cpus=1), free) == "1 CPUs where 0 are"


@given(st.lists(st.integers(1, 3), max_size=4))
def test_no_device_is_given_to_two_jobs(asked: list[int]) -> None:
    held: list[dict[str, list[int]]] = []
    for count in asked:
        if sum(len(one["h20"]) for one in held) + count <= 4:
            held.append(allot({"h20": count}, HALL["local"], held))
    given_out = [index for one in held for index in one["h20"]]
    assert len(given_out) == len(set(given_out))
    assert set(given_out) <= set(range(4))
