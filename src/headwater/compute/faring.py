"""How a site fares: whether it answers, is lost, is held off because it comes and goes, or drains. Pure.

A site that has not answered for `lost_s` is lost, once for each time that it falls silent. One that was lost twice or more within
an hour is held off when it answers again: a minute after the second loss, twice as long after each further one, an hour at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater.compute.pool import Stand, Standing
from headwater.compute.sites import Order

HOLD_S, LONGEST_HOLD_S = 60.0, 3600.0
REMEMBERED_S = 3600.0
"""How long a loss counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known of a site at one moment. Times are seconds on one clock."""

    silent_s: float = 0.0
    """For how long it has not answered; 0.0: it answers."""
    opened: bool = True
    """Whether its engine could be opened since this server began to ask."""
    problem: str = ""
    """Why not."""
    losses_s: Sequence[float] = ()
    """When it was lost, the oldest first."""
    answers_since_s: float = 0.0
    """Since when it has answered without a break."""
    order: Order = Order.OPEN
    why: str = ""
    """The reason given with the order."""
    busy: int = 0
    """Jobs on it."""


def stand(health: Health, *, now_s: float, lost_s: float) -> Stand:
    """Return how a site fares now, and why it starts nothing where it does not."""
    if health.silent_s >= lost_s:
        return Stand(standing=Standing.LOST, why=f"has not answered for {health.silent_s:.0f} s{_because(health.problem)}")
    if not health.opened:
        return Stand(standing=Standing.UNREACHED, why=f"has not answered yet{_because(health.problem)}")
    if health.order is not Order.OPEN:
        standing = Standing.DRAINING if health.busy else Standing.DRAINED
        return Stand(standing=standing, why=f"is being drained{_because(health.why)}")
    if (left_s := held_until_s(health) - now_s) > 0:
        times = len(_counted(health))
        return Stand(standing=Standing.HELD, why=f"was lost {times} times within an hour and is held off for another {left_s:.0f} s")
    return Stand()


def held_until_s(health: Health) -> float:
    """Return until when a site that came back is held off; its return where it is not."""
    times = len(_counted(health))
    hold_s = min(HOLD_S * 2.0 ** (times - 2), LONGEST_HOLD_S) if times >= 2 else 0.0
    return health.answers_since_s + hold_s


def _counted(health: Health) -> list[float]:
    return [at_s for at_s in health.losses_s if at_s > health.answers_since_s - REMEMBERED_S]


def _because(why: str) -> str:
    return f": {why}" if why else ""
