"""Metering: an attempt that ended becomes a usage record, in the transaction of its end.

How long it ran is the engine's own account where it has one, bounded by the platform's clock; what it held is what it asked for.
Energy is what its accelerators draw at work by the sites file (else by the chip catalogue), times the site's power usage
effectiveness: cores and memory draw too, and are not in it. Where a figure is not known, nor is what follows from it.
Steps inside the platform hold nothing of a site and are not metered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from headwater.compute import presence
from headwater.compute.catalogue.chips import Chip, Chips, chips
from headwater.compute.catalogue.figures import Unknown
from headwater.compute.catalogue.sites import Site
from headwater.compute.jobs import Job, State
from headwater.compute.settlement import ratecards, records
from headwater.compute.settlement.ratecards import Held, Version
from headwater.compute.settlement.records import Outcome, UsageRecord
from headwater.compute.situation import INSIDE
from headwater.compute.work import Observation, Phase
from headwater.core.platform import Platform

DOMESTIC = "CN"
"""The country whose chips count as domestic: the plan is a Chinese city's."""
JOULES_A_KWH = 3_600_000.0
NO_CARD = "no rate card was in force at the site when it started"
LOST_IS_FREE = "lost with its node: at the site's expense"


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Energy in kWh at the site's meter, carbon in kg of CO2 by the grid around it and by its contracts; None is unknown."""

    kwh: float | None = None
    location_kg: float | None = None
    market_kg: float | None = None
    basis: str


def meter(connection: Connection, platform: Platform, job: Job, seen: Observation, to: State, *, actor: str, at: datetime) -> None:
    """Record what an attempt used, once it has moved to its end or back to the queue. `job` is as it was before."""
    if job.engine == INSIDE or job.started_at is None:
        return
    stated = presence.described(platform.settings.sites_file).sites
    facts = stated.by_id.get(job.engine) if stated is not None else None
    card = ratecards.in_force(connection, job.engine, job.started_at)
    records.enter_record(connection, measured(job, seen, to, at=at, facts=facts, card=card), actor=actor)


def measured(job: Job, seen: Observation, to: State, *, at: datetime, facts: Site | None, card: Version | None) -> UsageRecord:
    """Return the record of an attempt that ended at a moment. Pure."""
    assert job.started_at is not None
    asked = job.spec.resources
    span = max(at - job.started_at, timedelta(0))
    told = seen.usage.wall_s
    lasted = span if told is None else min(timedelta(seconds=max(told, 0.0)), span)
    seconds = lasted.total_seconds()
    how = outcome(job, seen, to)
    accelerators = {chip: count for chip, count in sorted(asked.accelerators.items()) if count}
    held = Held(since=job.started_at, lasted=lasted, accelerators=accelerators, cpus=asked.cpus, memory_gib=asked.memory_gib)
    charge_fen, charge_basis = charge(held, card, how)
    used = energy(accelerators, seconds, facts, measured_j=seen.usage.energy_j)
    return UsageRecord(
        key=job.key,
        job=job.id,
        attempt=job.attempt,
        organisation=job.organisation,
        site=job.engine,
        outcome=how,
        measured_by="platform" if told is None else "engine",
        started_at=job.started_at,
        ended_at=job.started_at + lasted,
        metered_at=at,
        accelerators=accelerators,
        cpus=asked.cpus,
        memory_gib=asked.memory_gib,
        accelerator_s=sum(accelerators.values()) * seconds,
        domestic_accelerator_s=sum(count for chip, count in accelerators.items() if is_domestic(chip)) * seconds,
        core_s=asked.cpus * seconds,
        cpu_s=seen.usage.cpu_s,
        gib_s=asked.memory_gib * seconds,
        energy_kwh=used.kwh,
        location_kgco2=used.location_kg,
        market_kgco2=used.market_kg,
        energy_basis=used.basis[:300],
        card=None if card is None else card.version,
        charge_fen=charge_fen,
        charge_basis=charge_basis[:300],
    )


def outcome(job: Job, seen: Observation, to: State) -> Outcome:
    """Return how an attempt ended, from what its engine saw and where its job went."""
    if to is State.CANCELLED:
        return Outcome.CANCELLED
    if to is State.QUEUED and job.preempted_for is not None:
        return Outcome.PREEMPTED
    if seen.phase is Phase.LOST:
        return Outcome.LOST
    return Outcome.DONE if to is State.DONE else Outcome.FAILED


def charge(held: Held, card: Version | None, how: Outcome) -> tuple[int | None, str]:
    """Return what a run is charged in fen and by what, or None and why it has no price."""
    if how is Outcome.LOST:
        return 0, LOST_IS_FREE
    if card is None:
        return None, NO_CARD
    if lacking := ratecards.unpriced(card.card, held):
        return None, f"rate card {card.version} has no price for {', '.join(lacking)}"
    return ratecards.rounded(ratecards.exact_fen(card.card, held)), f"rate card {card.version}"


def energy(accelerators: Mapping[str, int], seconds: float, facts: Site | None, *, measured_j: float | None = None) -> Energy:
    """Return the energy and carbon of accelerators at work for some seconds, or why they are not known.

    What the engine measured in joules goes first: of the whole nodes, as their meters tell.
    """
    if measured_j is not None and facts is not None and not isinstance(facts.power_usage_effectiveness, Unknown):
        times = facts.power_usage_effectiveness.value
        told = f"measured by the engine, times a power usage effectiveness of {times:g}"
        return _with_carbon(measured_j * times / JOULES_A_KWH, facts, told)
    if not accelerators:
        return Energy(basis="unknown: it held no accelerator, and what cores draw is not stated")
    if facts is None:
        return Energy(basis=f"unknown: {presence.UNDESCRIBED}")
    watts = {chip: watts_of(chip, facts) for chip in accelerators}
    if lacking := [chip for chip, figure in watts.items() if figure is None]:
        return Energy(basis=f"unknown: the power of {', '.join(lacking)} is not stated, or differs among its variants")
    effectiveness = facts.power_usage_effectiveness
    if isinstance(effectiveness, Unknown):
        return Energy(basis=f"unknown: {effectiveness.reason}")
    drawn = sum((watts[chip] or 0.0) * count for chip, count in accelerators.items())
    kwh = drawn * seconds * effectiveness.value / JOULES_A_KWH
    told = f"accelerators at their stated power, {drawn:g} W, times a power usage effectiveness of {effectiveness.value:g}"
    return _with_carbon(kwh, facts, told)


def _with_carbon(kwh: float, facts: Site, basis: str) -> Energy:
    location, market = facts.location_kgco2_per_kwh, facts.market_kgco2_per_kwh
    return Energy(
        kwh=kwh,
        location_kg=None if isinstance(location, Unknown) else kwh * location.value,
        market_kg=None if isinstance(market, Unknown) else kwh * market.value,
        basis=basis,
    )


def watts_of(name: str, facts: Site, catalogue: Chips | None = None) -> float | None:
    """Return what one accelerator of a name draws at a site: by its pools, else by the catalogue; None where that is not one figure."""
    meant = _meant(name, catalogue)
    ids = {chip.id for chip in meant}
    pools = [one for one in facts.pools if one.chip.id in ids]
    found = [one.chip.figure("power_w") if isinstance(one.watts_per_chip, Unknown) else one.watts_per_chip for one in pools]
    found = found or [one.figure("power_w") for one in meant]
    values = {None if isinstance(one, Unknown) else one.value for one in found}
    return values.pop() if len(values) == 1 else None


def is_domestic(name: str, catalogue: Chips | None = None) -> bool:
    """Tell whether every accelerator that a name may mean is of a domestic vendor; one that nobody knows is not."""
    meant = _meant(name, catalogue)
    return bool(meant) and all(chip.country == DOMESTIC for chip in meant)


def _meant(name: str, catalogue: Chips | None) -> tuple[Chip, ...]:
    return (chips() if catalogue is None else catalogue).named(name)
