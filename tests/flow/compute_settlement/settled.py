"""Usage as the dispatcher records it, without running it: attempts that ended at given moments, for tests of what is made from them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection

from headwater.compute import jobs
from headwater.compute.jobs import NewJob, Spec, State
from headwater.compute.settlement import metering, ratecards
from headwater.compute.settlement.ratecards import Card
from headwater.compute.work import Observation, Phase, Usage
from headwater.core import identity
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources

PRICES = {"accelerator_fen_per_h": {"huawei/ascend910b/b3": "850", "nvidia/h20/sxm5-96gb": "700"}, "core_fen_per_h": "10"}
ASCEND, H20 = {"huawei/ascend910b/b3": 1}, {"nvidia/h20/sxm5-96gb": 1}


def organisation(site: Platform, *paths: str) -> None:
    """Add organisations, parents first."""
    for path in paths:
        site.db.write(lambda connection, path=path: identity.add_organisation(connection, path, path, actor=SYSTEM, at=site.clock.now()))  # type: ignore[misc]


def priced(site: Platform, engine: str = "local", at: datetime | None = None) -> None:
    """Set a rate card at an engine from a moment on."""
    now = at or site.clock.now()
    site.db.write(lambda connection: ratecards.put(connection, engine, Card.model_validate(PRICES), actor=SYSTEM, at=now))


def used(
    site: Platform,
    name: str,
    *,
    at: datetime,
    organisation: str = "city",
    hours: float = 1.0,
    engine: str = "local",
    accelerators: Mapping[str, int] = ASCEND,
    phase: Phase = Phase.SUCCEEDED,
) -> str:
    """Record a job of one attempt that ended at a moment after some hours, and return its key."""
    spec = Spec(argv=("true",), params={}, inputs={}, resources=Resources(cpus=2, memory_gib=4, accelerators=dict(accelerators)))
    started = at - timedelta(hours=hours)

    def work(connection: Connection) -> str:
        new = NewJob(id=f"g-{name}.j", name="j", spec=spec, engine=engine)
        jobs.submit(connection, f"g-{name}", [new], organisation=organisation, actor=SYSTEM, at=started)
        queued = jobs.get(connection, new.id)
        jobs.move(connection, queued, State.STARTING, at=started, actor=SYSTEM, attempt=1, started_at=started)
        running, seen = jobs.get(connection, new.id), Observation(phase=phase, usage=Usage(wall_s=hours * 3600))
        to = State.DONE if phase is Phase.SUCCEEDED else State.FAILED
        jobs.move(connection, running, to, at=at, actor=SYSTEM)
        metering.meter(connection, site, running, seen, to, actor=SYSTEM, at=at)
        return running.key

    return site.db.write(work)
