"""Whether a site works: it is asked what it has, and given a job that does nothing."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from headwater.compute import sites
from headwater.compute.sites import ENGINES, Registered
from headwater.compute.work import Capacity, Engine, Phase, Work
from headwater.core.errors import NotFound
from headwater.core.platform import Platform
from headwater.core.steps import Resources

LONGEST_S = 30.0
SMALL = Resources(cpus=0.1, memory_gib=0.05, wall_s=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found. `answered_s`: how long the site took to say what it has; `ran_s`: from handing in a job to its end."""

    site: str
    works: bool
    capacity: Capacity
    answered_s: float
    ran_s: float | None = None
    problem: str = ""


def check(platform: Platform, site: Registered, engine: Engine | None = None) -> Checked:
    """Ask a site what it has and run `true` there, for half a minute at most; `engine` is it where it is open here.

    Raises NotFound for a site that is but an order to an engine of the settings which is not open here, Unavailable where it does
    not answer at all.
    """
    began_s = time.monotonic()
    opened = engine or _opened(platform, site)
    try:
        capacity = opened.capacity()
        answered_s = time.monotonic() - began_s
        ran_s, problem = _tried(opened)
    finally:
        if engine is None:
            opened.close()
    return Checked(site=site.name, works=not problem, capacity=capacity, answered_s=answered_s, ran_s=ran_s, problem=problem)


def _opened(platform: Platform, site: Registered) -> Engine:
    factory = ENGINES.get(site.engine)
    if factory.site is None or site.options is None:
        raise NotFound(f"Engine '{site.name}' is not open here.", "Check it where the server runs, or register a site.")
    return factory.site(platform, site.name, sites.options_of(site.engine, site.options))


def _tried(engine: Engine) -> tuple[float | None, str]:
    """Run a job that does nothing, and return how long that took, or what became of it."""
    key, began_s = f"check-{uuid.uuid4().hex[:12]}", time.monotonic()
    engine.submit(Work(key=key, argv=("true",), resources=SMALL))
    while time.monotonic() < began_s + LONGEST_S:
        seen = engine.poll([key])[key]
        if seen.phase not in (Phase.RUNNING, Phase.UNKNOWN):
            break
        engine.wait(0.1)
    else:
        engine.cancel(key)
        return None, f"A job that does nothing had not ended after {LONGEST_S:.0f} s; it was cancelled."
    took_s = time.monotonic() - began_s
    engine.forget(key)
    return (took_s, "") if seen.phase is Phase.SUCCEEDED else (None, f"A job that does nothing ended as {seen.phase}: {seen.message[:300]}")
