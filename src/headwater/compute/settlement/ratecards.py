"""Rate cards: what a site charges, by chip, core and GiB for an hour, at which times of its day. Exact: money is never a float.

A run is charged by the card that is in force at its site when it starts, whatever comes later; a card cannot begin in the past. Each
second counts with the percentage of its window. The sum is exact, and is rounded once a run, half up, to a whole fen.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import JSON, Column, Connection, Index, Integer, String, Table, delete, func, insert, select

from headwater.compute.catalogue.sites_file import MINUTES_A_DAY, Hour
from headwater.compute.settlement.entries import enter
from headwater.core.db import UtcTime, metadata
from headwater.core.errors import BadInput
from headwater.core.ledger import Entry

KIND = "rates.set"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
HOUR_US = 3_600_000_000

rate_cards = Table(
    "rate_card",
    metadata,
    Column("site", String(40), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("valid_from", UtcTime, nullable=False),
    Column("card", JSON, nullable=False),
    Column("set_by", String(64), nullable=False),
    Index("ix_rate_card_valid_from", "site", "valid_from"),
)

Price = Annotated[Decimal, Field(ge=0, le=10**9, max_digits=18, decimal_places=6, examples=["850", "12.5"])]
Percent = Annotated[Decimal, Field(ge=0, le=1000, max_digits=10, decimal_places=4, examples=["60"])]


class Window(BaseModel):
    """Part of each day in which prices count with a percentage; one over midnight is written as two."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: Hour = Field(alias="from", examples=["00:00"])
    until: Hour = Field(alias="to", examples=["07:00"])
    percent: Percent

    @property
    def edges(self) -> tuple[int, int]:
        """The first minute of the day that counts, and the one after the last."""
        return _minute(self.since), _minute(self.until)

    @model_validator(mode="after")
    def _forward(self) -> Window:
        if self.edges[1] <= self.edges[0]:
            raise ValueError(f"the window ends at {self.until}, not after {self.since}: write one over midnight as two")
        return self


class Card(BaseModel):
    """What a site charges from a moment on. Minutes in no window count with 100 %."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["headwater.rates/1"] = Field("headwater.rates/1", alias="schema")
    valid_from: AwareDatetime | None = Field(None, description="When it takes force; left out: at once.")
    accelerator_fen_per_h: dict[Annotated[str, Field(max_length=120)], Price] = Field(
        default_factory=dict, max_length=200, description="By the chip's name as jobs ask for it."
    )
    core_fen_per_h: Price = Decimal(0)
    memory_fen_per_gib_h: Price = Decimal(0)
    utc_offset_h: int = Field(8, ge=-12, le=14, description="Of the clock that the windows are told by.")
    windows: list[Window] = Field(default_factory=list, max_length=48)

    @model_validator(mode="after")
    def _apart(self) -> Card:
        ordered = sorted(self.windows, key=lambda one: one.edges)
        for one, after in itertools.pairwise(ordered):
            if after.edges[0] < one.edges[1]:
                raise ValueError(f"the windows from {one.since} and from {after.since} overlap")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A card as it was set: versions of a site count from 1."""

    site: str
    version: int
    valid_from: datetime
    card: Card


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one run held, from `since` for `lasted`."""

    since: datetime
    lasted: timedelta
    accelerators: Mapping[str, int]
    cpus: float
    memory_gib: float


def unpriced(card: Card, held: Held) -> tuple[str, ...]:
    """Return the accelerators that a run held and for which a card has no price."""
    return tuple(sorted(chip for chip, count in held.accelerators.items() if count and chip not in card.accelerator_fen_per_h))


def exact_fen(card: Card, held: Held) -> Fraction:
    """Return what a run costs, before rounding. Raises KeyError for an accelerator without a price."""
    by_chip = sum((_exact(card.accelerator_fen_per_h[chip]) * count for chip, count in held.accelerators.items() if count), Fraction(0))
    fen_per_h = by_chip + _exact(card.core_fen_per_h) * _exact(held.cpus) + _exact(card.memory_fen_per_gib_h) * _exact(held.memory_gib)
    start_us = (held.since - EPOCH) // MICROSECOND + card.utc_offset_h * HOUR_US
    weighted_us = _weighted_until(card.windows, start_us + held.lasted // MICROSECOND) - _weighted_until(card.windows, start_us)
    return fen_per_h * weighted_us / HOUR_US


def rounded(fen: Fraction) -> int:
    """Return the nearest whole fen; half a fen goes up."""
    return int((fen + Fraction(1, 2)) // 1)


def _weighted_until(windows: Sequence[Window], at_us: int) -> Fraction:
    """Return the microseconds from the epoch to a moment of local time, each counted with its window's share."""
    days, rest = divmod(at_us, DAY_US)
    return days * _weighted_day(windows, DAY_US) + _weighted_day(windows, rest)


def _weighted_day(windows: Sequence[Window], until_us: int) -> Fraction:
    total = Fraction(until_us)
    for window in windows:
        first, last = (minute * MINUTE_US for minute in window.edges)
        inside = max(min(until_us, last) - first, 0)
        total += inside * (_exact(window.percent) / 100 - 1)
    return total


def _exact(value: Decimal | float) -> Fraction:
    """Return a figure as it is written: 0.1 is a tenth."""
    return Fraction(str(value))


def _minute(hour: str) -> int:
    return min(int(hour[:2]) * 60 + int(hour[3:]), MINUTES_A_DAY)


def put(connection: Connection, site: str, card: Card, *, actor: str, at: datetime) -> Version:
    """Set a site's next card, with its ledger entry. Raises BadInput for one that would begin in the past."""
    if card.valid_from is not None and card.valid_from < at:
        raise BadInput(
            f"The card would take force at {card.valid_from.isoformat()}, which is past.",
            "Runs that began keep their prices: start it later.",
        )
    newest = connection.execute(select(func.max(rate_cards.c.version)).where(rate_cards.c.site == site)).scalar_one()
    fixed = card.model_copy(update={"valid_from": card.valid_from or at})
    body = {"version": (newest or 0) + 1, "card": fixed.model_dump(mode="json", by_alias=True)}
    entry = enter(connection, KIND, applied, subject=site, actor=actor, at=at, body=body)
    return _version(site, entry.body["version"], entry.body["card"])


def applied(connection: Connection, entry: Entry) -> None:
    """Take a card into the table."""
    one = _version(entry.subject, entry.body["version"], entry.body["card"])
    row = {"site": one.site, "version": one.version, "valid_from": one.valid_from, "card": entry.body["card"], "set_by": entry.actor}
    connection.execute(insert(rate_cards).values(row))


def in_force(connection: Connection, site: str, at: datetime) -> Version | None:
    """Return a site's card at a moment: the one that took force last, and of two at once the later version; None where it has none."""
    column = rate_cards.c
    query = select(rate_cards).where(column.site == site, column.valid_from <= at)
    row = connection.execute(query.order_by(column.valid_from.desc(), column.version.desc()).limit(1)).one_or_none()
    return None if row is None else _version(row.site, row.version, row.card)


def listed(connection: Connection, site: str | None = None) -> tuple[Version, ...]:
    """Return every card, by site and version."""
    query = select(rate_cards).order_by(rate_cards.c.site, rate_cards.c.version)
    query = query if site is None else query.where(rate_cards.c.site == site)
    return tuple(_version(row.site, row.version, row.card) for row in connection.execute(query))


def clear(connection: Connection) -> None:
    """Empty the table, to be rebuilt."""
    connection.execute(delete(rate_cards))


def _version(site: str, version: int, told: Mapping[str, Any]) -> Version:
    card = Card.model_validate(told)
    assert card.valid_from is not None
    return Version(site=site, version=version, valid_from=card.valid_from, card=card)
