"""The shape of a sites file, and what must hold across its rows.

Only the schema is here; `sites.py` turns a good file into sites. Money is in fen, times of day in minutes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, StringConstraints, field_validator, model_validator

from headwater.compute.catalogue.chips import Chips
from headwater.compute.catalogue.figures import AnyFigureRow, FigureRow, Row, Text
from headwater.core.errors import NotFound, Problem

MINUTES_A_DAY = 24 * 60

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9:_-]{0,62}$")]
Hour = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


def _minute(hour: str) -> int:
    return int(hour[:2]) * 60 + int(hour[3:])


class BandRow(Row):
    """`[[site.tariff]]`: one band; a band over midnight is written as two."""

    from_: Annotated[Hour, Field(alias="from")]
    to: Hour
    fen_per_kwh: AnyFigureRow

    @property
    def from_minute(self) -> int:
        """The first minute of the band."""
        return _minute(self.from_)

    @property
    def to_minute(self) -> int:
        """The minute after the band's last."""
        return _minute(self.to)

    @model_validator(mode="after")
    def _forward(self) -> BandRow:
        if self.to_minute <= self.from_minute:
            raise ValueError(f"the band ends at {self.to}, not after {self.from_}: write a band over midnight as two")
        return self


class MaintenanceRow(Row):
    """`[[site.maintenance]]`."""

    since: AwareDatetime
    until: AwareDatetime
    reason: Text

    @model_validator(mode="after")
    def _forward(self) -> MaintenanceRow:
        if self.until <= self.since:
            raise ValueError(f"ends at {self.until.isoformat()}, not after it starts")
        return self


class PoolRow(Row):
    """`[[site.pool]]`: like nodes."""

    name: Id
    chip: Text
    nodes: Count
    chips_per_node: Annotated[int, Field(ge=1, le=1024)]
    cpus_per_node: Count
    memory_gib_per_node: Annotated[float, Field(gt=0, le=1_000_000)]
    fen_per_chip_h: AnyFigureRow | None = None
    """What an hour of a chip costs beside its electricity, which the tariff prices."""
    watts_per_chip: FigureRow | None = None
    """What a chip of this pool draws at work, where the owner knows it better than the chip catalogue."""


class PueRow(FigureRow):
    """Power usage effectiveness: total over IT energy, so never below 1."""

    value: Annotated[float, Field(ge=1, le=5)]


class CarbonRow(AnyFigureRow):
    """A carbon factor in kg of CO2 a kWh; above 2 it is in grams by mistake."""

    value: Annotated[float, Field(ge=0, le=2)]


class SiteRow(Row):
    """`[[site]]`."""

    id: Id
    name: Text
    owner: Text
    region: Tag
    engine: Literal["local", "slurm", "kubernetes", "ray", "cloud"]
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    """Both in degrees, as near as a map of the region needs."""
    utc_offset_h: Annotated[float, Field(ge=-12, le=14)] = 8
    residency: Annotated[list[Tag], Field(min_length=1)]
    pool: Annotated[list[PoolRow], Field(min_length=1)]
    power_usage_effectiveness: PueRow | None = None
    location_kgco2_per_kwh: CarbonRow | None = None
    market_kgco2_per_kwh: CarbonRow | None = None
    tariff: list[BandRow] = Field(default_factory=list)
    egress_fen_per_gib: AnyFigureRow | None = None
    maintenance: list[MaintenanceRow] = Field(default_factory=list)

    @model_validator(mode="after")
    def _whole_place(self) -> SiteRow:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError("latitude and longitude go together: state both or neither")
        return self

    @field_validator("tariff")
    @classmethod
    def _whole_day(cls, bands: list[BandRow]) -> list[BandRow]:
        edges = sorted((band.from_minute, band.to_minute) for band in bands)
        if edges and (edges[0][0] != 0 or edges[-1][1] != MINUTES_A_DAY or any(a[1] != b[0] for a, b in itertools.pairwise(edges))):
            raise ValueError("the bands must cover 00:00 to 24:00 once, without gap or overlap")
        return bands

    @field_validator("pool")
    @classmethod
    def _pool_names(cls, pools: list[PoolRow]) -> list[PoolRow]:
        twice = [name for name, count in Counter(pool.name for pool in pools).items() if count > 1]
        if twice:
            raise ValueError(f"pool {', '.join(twice)} is written twice")
        return pools


class LinkRow(Row):
    """`[[link]]`: the same in both directions; egress is the sending site's price."""

    between: Annotated[list[Id], Field(min_length=2, max_length=2)]
    bandwidth_gbit_s: FigureRow | None = None
    round_trip_ms: FigureRow | None = None


class SitesFile(Row):
    """The whole file."""

    schema_: Literal["headwater.sites/1"] = Field(alias="schema")
    name: Id
    note: Text
    site: Annotated[list[SiteRow], Field(min_length=1)]
    link: list[LinkRow] = Field(default_factory=list)


def cross_problems(file: SitesFile, known: Chips) -> list[Problem]:
    """Return what is wrong between rows: ids twice, chips and link ends that do not exist, overlapping maintenance."""
    return [*_site_problems(file), *_chip_problems(file, known), *_link_problems(file)]


def _site_problems(file: SitesFile) -> list[Problem]:
    found = [
        Problem(where=f"site '{site_id}'", what=f"The id is used {count} times.", hint="Give each site an id of its own.")
        for site_id, count in Counter(site.id for site in file.site).items()
        if count > 1
    ]
    for number, site in enumerate(file.site):
        windows = sorted(site.maintenance, key=lambda window: window.since)
        found += [
            Problem(where=f"{_row(number, site)} maintenance", what=f"Two windows overlap from {_text(late.since)}.", hint="Join them.")
            for early, late in itertools.pairwise(windows)
            if late.since < early.until
        ]
    return found


def _row(number: int, site: SiteRow) -> str:
    return f"site[{number}] '{site.id}'"


def _text(at: datetime) -> str:
    return at.isoformat(timespec="minutes")


def _chip_problems(file: SitesFile, known: Chips) -> list[Problem]:
    found: list[Problem] = []
    for number, site in enumerate(file.site):
        for place, pool in enumerate(site.pool):
            try:
                known[pool.chip]
            except NotFound as error:
                where = f"{_row(number, site)} pool[{place}] '{pool.name}' chip"
                found.append(Problem(where=where, what=error.what, hint=error.hint))
    return found


def _link_problems(file: SitesFile) -> list[Problem]:
    ids = {site.id for site in file.site}
    found: list[Problem] = []
    seen: dict[frozenset[str], int] = {}
    for number, link in enumerate(file.link):
        where = f"link[{number}] {' - '.join(link.between)}"
        lost = [end for end in link.between if end not in ids]
        found += [Problem(where=where, what=f"There is no site '{end}'.", hint="Name the ends by site id.") for end in lost]
        ends = frozenset(link.between)
        if len(ends) == 1:
            found.append(Problem(where=where, what="Both ends are the same site.", hint="A site needs no link to itself."))
        elif ends in seen:
            found.append(Problem(where=where, what=f"The same two sites are link[{seen[ends]}].", hint="Links run both ways: write one."))
        seen.setdefault(ends, number)
    return found


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a sites file, for editors and for other tools."""
    return SitesFile.model_json_schema()
