"""The sites that a city pools, and the links between them.

`sites(path)` reads and checks a file whole. A rate whose figure is unknown is `Unknown`, and location-based
carbon (the grid around the site) stays apart from market-based carbon (what the site has under contract).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType

from headwater.compute.catalogue import problems
from headwater.compute.catalogue.chips import Chip, Chips, chips
from headwater.compute.catalogue.figures import AnyFigureRow, Figure, Unknown
from headwater.compute.catalogue.sites_file import MINUTES_A_DAY, LinkRow, PoolRow, SiteRow, SitesFile, cross_problems
from headwater.core.errors import BadFile, NotFound

EXAMPLES = Path(__file__).with_name("sites")
CAPITAL = EXAMPLES / "capital.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Like nodes of one site."""

    name: str
    chip: Chip
    nodes: int
    chips_per_node: int
    cpus_per_node: int
    memory_gib_per_node: float
    fen_per_chip_h: Figure | Unknown
    """What an hour of a chip costs beside its electricity, which the tariff prices."""
    watts_per_chip: Figure | Unknown

    @property
    def chip_count(self) -> int:
        """Accelerators of the pool."""
        return self.nodes * self.chips_per_node


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffBand:
    """An electricity price for part of each day, in minutes of local time; `to_minute` is not included."""

    from_minute: int
    to_minute: int
    fen_per_kwh: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """A time in which nothing may run at a site; `until` is not included."""

    since: datetime
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One owner's machines in one place."""

    id: str
    name: str
    owner: str
    region: str
    engine: str
    latitude: float | None = None
    longitude: float | None = None
    utc_offset_h: float
    residency: frozenset[str]
    pools: tuple[Pool, ...]
    power_usage_effectiveness: Figure | Unknown
    location_kgco2_per_kwh: Figure | Unknown
    market_kgco2_per_kwh: Figure | Unknown
    tariff: tuple[TariffBand, ...]
    egress_fen_per_gib: Figure | Unknown
    maintenance: tuple[Maintenance, ...]

    @property
    def chip_count(self) -> int:
        """Accelerators of all pools."""
        return sum(pool.chip_count for pool in self.pools)

    def fen_per_kwh(self, minute: int) -> Figure | Unknown:
        """Return the electricity price at a minute of the local day (0 to 1439)."""
        minute %= MINUTES_A_DAY
        for band in self.tariff:
            if band.from_minute <= minute < band.to_minute:
                return band.fen_per_kwh
        return Unknown(reason=f"{self.id} states no electricity price.")

    def minute_of_day(self, now: datetime) -> int:
        """Return the minute of the site's local day (0 to 1439)."""
        local = now.astimezone(timezone(timedelta(hours=self.utc_offset_h)))
        return local.hour * 60 + local.minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What lies between two sites; the same in both directions."""

    between: tuple[str, str]
    bandwidth_gbit_s: Figure | Unknown
    round_trip_ms: Figure | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """A federation of sites."""

    name: str
    note: str
    by_id: Mapping[str, Site]
    links: tuple[Link, ...]

    def __iter__(self) -> Iterator[Site]:
        return iter(self.by_id.values())

    def __len__(self) -> int:
        return len(self.by_id)

    def __getitem__(self, site_id: str) -> Site:
        try:
            return self.by_id[site_id]
        except KeyError:
            raise NotFound(f"No site '{site_id[:80]}' in {self.name}.", f"Known: {', '.join(self.by_id)}.") from None

    def link(self, one: str, other: str) -> Link | None:
        """Return the link between two sites, whichever way round it is written, or None."""
        ends = {self[one].id, self[other].id}
        return next((link for link in self.links if set(link.between) == ends), None)


def sites(path: Path = CAPITAL, *, catalogue: Chips | None = None) -> Sites:
    """Return the sites of a file, by default the worked example.

    `catalogue` is where the pools' chips are looked up, by default the one that ships with the package.
    Raises BadFile with every problem of the file and its place.
    """
    known = chips() if catalogue is None else catalogue
    file = problems.checked(SitesFile, problems.read_toml(path), path)
    found = cross_problems(file, known)
    if found:
        raise BadFile(found, f"file {path}")
    return Sites(
        name=file.name,
        note=file.note,
        by_id=MappingProxyType({row.id: _site(row, known) for row in file.site}),
        links=tuple(_link(row) for row in file.link),
    )


def _figure(row: AnyFigureRow | None, what: str) -> Figure | Unknown:
    return row.figure() if row is not None else Unknown(reason=f"The site file states no {what}.")


def _site(row: SiteRow, known: Chips) -> Site:
    return Site(
        id=row.id,
        name=row.name,
        owner=row.owner,
        region=row.region,
        engine=row.engine,
        latitude=row.latitude,
        longitude=row.longitude,
        utc_offset_h=row.utc_offset_h,
        residency=frozenset(row.residency),
        pools=tuple(_pool(pool, known) for pool in row.pool),
        power_usage_effectiveness=_figure(row.power_usage_effectiveness, "power usage effectiveness"),
        location_kgco2_per_kwh=_figure(row.location_kgco2_per_kwh, "location-based carbon factor"),
        market_kgco2_per_kwh=_figure(row.market_kgco2_per_kwh, "market-based carbon factor"),
        tariff=tuple(
            TariffBand(from_minute=band.from_minute, to_minute=band.to_minute, fen_per_kwh=band.fen_per_kwh.figure())
            for band in sorted(row.tariff, key=lambda band: band.from_minute)
        ),
        egress_fen_per_gib=_figure(row.egress_fen_per_gib, "egress price"),
        maintenance=tuple(Maintenance(since=window.since, until=window.until, reason=window.reason) for window in row.maintenance),
    )


def _pool(row: PoolRow, known: Chips) -> Pool:
    return Pool(
        name=row.name,
        chip=known[row.chip],
        nodes=row.nodes,
        chips_per_node=row.chips_per_node,
        cpus_per_node=row.cpus_per_node,
        memory_gib_per_node=row.memory_gib_per_node,
        fen_per_chip_h=_figure(row.fen_per_chip_h, "price of a chip-hour"),
        watts_per_chip=_figure(row.watts_per_chip, "power of a chip"),
    )


def _link(row: LinkRow) -> Link:
    return Link(
        between=(row.between[0], row.between[1]),
        bandwidth_gbit_s=_figure(row.bandwidth_gbit_s, "bandwidth"),
        round_trip_ms=_figure(row.round_trip_ms, "round trip"),
    )
