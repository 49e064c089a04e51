"""Small graphs of command jobs, submitted and awaited as the tests need them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping

from headwater.compute import jobs
from headwater.compute.jobs import ENDS, Input, Job, NewJob, Spec
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources


def command(
    *argv: str, needs: tuple[str, ...] = (), outputs: tuple[str, ...] = (), inputs: Mapping[str, str] | None = None, **resources: object
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], dict[str, str], Resources]:
    """Describe a job that runs a command; `inputs` maps an input to `job.output` of the same graph."""
    told = {"cpus": 0.5, "memory_gib": 0.1, "wall_s": 60.0} | resources
    return argv, needs, outputs, dict(inputs or {}), Resources(**told)  # type: ignore[arg-type]


def submit(
    site: Platform,
    described: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], dict[str, str], Resources]],
    *,
    organisation: str = "city",
    engine: str = "local",
) -> str:
    """Submit a graph and return its id."""
    graph = f"g-{uuid.uuid4().hex[:8]}"
    new = []
    for name, (argv, needs, outputs, inputs, resources) in described.items():
        given = {key: Input(job=f"{graph}.{value.split('.')[0]}", output=value.split(".")[1]) for key, value in inputs.items()}
        before = {*needs, *(value.split(".")[0] for value in inputs.values())}
        spec = Spec(argv=argv, params={}, inputs=given, resources=resources, outputs=outputs)
        new.append(NewJob(id=f"{graph}.{name}", name=name, spec=spec, engine=engine, needs=frozenset(f"{graph}.{one}" for one in before)))
    site.db.write(lambda connection: jobs.submit(connection, graph, new, organisation=organisation, actor=SYSTEM, at=site.clock.now()))
    return graph


def graph_of(site: Platform, graph: str) -> dict[str, Job]:
    """Return a graph's jobs by name."""
    with site.db.read() as connection:
        return {job.name: job for job in jobs.of_graph(connection, graph)}


def until(site: Platform, graph: str, reached: Callable[[dict[str, Job]], bool], *, within_s: float = 60.0) -> dict[str, Job]:
    """Wait until a graph's jobs satisfy a condition, and return them."""
    deadline = time.monotonic() + within_s
    while True:
        seen = graph_of(site, graph)
        if reached(seen):
            return seen
        assert time.monotonic() < deadline, {name: (job.state, job.reason) for name, job in seen.items()}
        time.sleep(0.02)


def ended(site: Platform, graph: str, *, within_s: float = 60.0) -> dict[str, Job]:
    """Wait until every job of a graph has ended, and return them."""
    return until(site, graph, lambda seen: all(job.state in ENDS for job in seen.values()), within_s=within_s)
