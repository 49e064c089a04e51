"""The twin equals, to the second, a slow simulator that shares no code with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from slow_simulator import Job, Pool, easy, simulate_preempting_slowly, simulate_slowly, step_over, strict

from headwater.compute.scheduler.policy import Policy, check, load
from headwater.compute.scheduler.shapes import SiteShape
from headwater.compute.twin.simulate import Setting, simulate
from headwater.compute.twin.trace import Trace, trace_of
from headwater.compute.twin.traces import read_trace

SHARED = Path(__file__).resolve().parents[4].parent / "shared" / "traces"
SAMPLES = ("muri1", "muri3", "lublin1", "hpc2n_slice", "made_up")


def made_up(seed: int, count: int = 600) -> Trace:
    """Bursty arrivals with ties, and sizes that fragment nodes."""
    rng = np.random.default_rng(seed)
    submit = np.sort(rng.integers(0, 40_000, count)).astype(float)
    return trace_of("made_up", submit, rng.integers(1, 4_000, count).astype(float), rng.choice([1, 2, 3, 4, 8, 16, 24], count))


def sample(name: str) -> tuple[Trace, int]:
    """600 jobs and the capacity of the pool they ran on."""
    if name == "made_up":
        return made_up(7), 64
    file = SHARED / f"{name}_jobs.parquet"
    if not file.is_file():
        pytest.skip(f"the shared traces are not beside this repository: {file.name}")
    return read_trace(file).first(600), {"lublin1": 256, "hpc2n_slice": 240}.get(name, 64)


def slow_jobs(trace: Trace, estimate: np.ndarray) -> list[Job]:
    return [
        Job(
            number=i,
            submit=float(trace.submit_s[i]),
            length=float(trace.duration_s[i]),
            units=int(trace.units[i]),
            estimate=float(estimate[i]),
        )
        for i in range(len(trace))
    ]


def twin_ends(trace: Trace, policy: Policy, nodes: tuple[int, ...]) -> np.ndarray:
    return simulate(trace, Setting(sites=(SiteShape(name="pool", node_units=nodes),), policy=policy)).end_s


def nodes_for(capacity: int) -> tuple[int, ...]:
    return (8,) * (capacity // 8)


def by_submission(job: Job) -> tuple[float, int]:
    return (job.submit, job.number)


def by_length(job: Job) -> tuple[float, int]:
    return (job.estimate, job.number)


def by_work_left(job: Job) -> tuple[float, int]:
    return (job.left * job.units, job.number)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize(
    ("policy", "consolidated", "key", "choose"),
    [
        ("fifo", False, by_submission, strict),
        ("fifo_consolidated", True, by_submission, strict),
        ("easy_exact", False, by_submission, easy),
        ("shortest", False, by_length, strict),
    ],
)
def test_every_job_ends_at_the_same_second(name, policy, consolidated, key, choose):
    trace, capacity = sample(name)
    pool = Pool(nodes=list(nodes_for(capacity)), node_size=8, consolidated=consolidated)
    expected = simulate_slowly(slow_jobs(trace, trace.duration_s), pool, key, choose)
    np.testing.assert_array_equal(twin_ends(trace, load(policy), nodes_for(capacity)), expected)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_easy_agrees_with_estimates_one_to_ten_times_too_long(seed):
    trace = made_up(seed)
    noisy = np.ceil(trace.duration_s * np.random.default_rng(seed).uniform(1, 10, len(trace)))
    trace.walltime_s[:] = noisy
    pool = Pool(nodes=list(nodes_for(64)), node_size=8, consolidated=False)
    expected = simulate_slowly(slow_jobs(trace, noisy), pool, by_submission, easy)
    np.testing.assert_array_equal(twin_ends(trace, load("easy"), nodes_for(64)), expected)


@pytest.mark.parametrize("seed", [4, 5])
def test_stepping_over_blocked_jobs_on_nodes_agrees(seed):
    trace = made_up(seed)
    policy = check({"name": "over", "placement": {"nodes": "consolidated"}, "backfill": {"kind": "skip"}}, "test")
    pool = Pool(nodes=list(nodes_for(64)), node_size=8, consolidated=True)
    expected = simulate_slowly(slow_jobs(trace, trace.duration_s), pool, by_submission, step_over)
    np.testing.assert_array_equal(twin_ends(trace, policy, nodes_for(64)), expected)


@pytest.mark.parametrize("name", ["muri3", "made_up"])
def test_smallest_remaining_service_agrees_when_stopping_is_free(name):
    trace, capacity = sample(name)
    expected = simulate_preempting_slowly(slow_jobs(trace, trace.duration_s), capacity, by_work_left)
    np.testing.assert_allclose(twin_ends(trace, load("srsf"), nodes_for(capacity)), expected, rtol=0, atol=1e-3)
