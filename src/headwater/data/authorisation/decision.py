"""Whether a use of data is within its terms. Pure: a policy, the facts of the use, what was used before, and the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from headwater.core.clock import to_text
from headwater.core.identity import Decision, covers
from headwater.data.authorisation.policy import Action, Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What someone wants to do with a data set: the facts that the terms speak of.

    A fact that the terms bound and that is not stated counts against the use: we refuse rather than guess.
    """

    action: Action
    organisation: str
    """The organisation of the person who asks."""
    purpose: str | None = None
    region: str | None = None
    """Where the data will be used (ISO 3166-2)."""
    price_fen: int | None = None
    """What the grantee charges for it; None where nothing is charged."""
    onward: bool = False
    """Whether the data are passed on to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was used under a grant so far."""

    count: int


def decide(policy: Policy, use: Use, usage: Usage, now: datetime) -> Decision:
    """Return whether the terms allow this use, with every reason against it, or with what remains of the grant."""
    against = tuple(_against(policy, use, usage, now))
    if against:
        return Decision(allowed=False, because="; ".join(against))
    count = f"use {usage.count + 1} of {policy.count}" if policy.count is not None else f"use {usage.count + 1}"
    term = f", until {to_text(policy.ends_at)}" if policy.ends_at else ""
    return Decision(allowed=True, because=f"{policy.uid} allows {use.action}: {count}{term}")


def _against(policy: Policy, use: Use, usage: Usage, now: datetime) -> Iterator[str]:
    if use.action not in policy.actions:
        yield f"'{use.action}' is not permitted, only {', '.join(policy.actions)}"
    if not any(covers(one, use.organisation) for one in policy.recipients or (policy.assignee,)):
        yield f"{use.organisation} is not among those who may use it"
    yield from _outside("purpose", use.purpose, policy.purposes)
    yield from _outside("region", use.region, policy.regions)
    if policy.starts_at is not None and now < policy.starts_at:
        yield f"the term begins on {to_text(policy.starts_at)}"
    if policy.ends_at is not None and now >= policy.ends_at:
        yield f"the term ended on {to_text(policy.ends_at)}"
    if policy.count is not None and usage.count >= policy.count:
        yield f"all {policy.count} uses are spent"
    if policy.fee_ceiling_fen is not None and (use.price_fen or 0) > policy.fee_ceiling_fen:
        yield f"the price of {use.price_fen} fen is above the ceiling of {policy.fee_ceiling_fen}"
    if use.onward and not policy.onward_sharing:
        yield "the data may not be passed on"


def _outside(what: str, given: str | None, allowed: tuple[str, ...]) -> Iterator[str]:
    if not allowed or given in allowed:
        return
    bound = f"only {', '.join(allowed)}"
    yield f"the {what} is not stated, and it is bound: {bound}" if given is None else f"the {what} '{given[:60]}' is not granted, {bound}"
