"""The sites of a replay: pools of like chips, where they are, what they cost and emit, and the links between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np

from headwater.compute.scheduler.shapes import ChipFigures, Inbound, SiteShape, Window
from headwater.compute.twin.tariff import Tariff
from headwater.core.errors import BadInput, NotFound

HOUR_S = 3600.0
UNKNOWN_FIGURES = ChipFigures()
GIB_PER_GBIT = 1e9 / 8 / 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinSite:
    """One pool of like chips at a site: a row of the scheduler. What is not known is None."""

    name: str
    node_units: tuple[int, ...]
    lane: int = 0
    place: str = ""
    """The site that the pool is part of; empty where the pool is the whole site."""
    chip: str | None = None
    speed: float = 1.0
    """Declared, for jobs whose speed here is neither measured nor to be had from a roofline."""
    figures: ChipFigures = UNKNOWN_FIGURES
    chip_memory_gib: float | None = None
    residency: frozenset[str] | None = None
    fen_per_unit_h: float | None = None
    """What an hour of a chip costs beside its electricity."""
    tariff: Tariff | None = None
    watts_per_unit: float | None = None
    power_usage_effectiveness: float | None = None
    location_kgco2_per_kwh: float | None = None
    market_kgco2_per_kwh: float | None = None
    egress_fen_per_gib: float | None = None
    maintenance: tuple[tuple[datetime, datetime, str], ...] = ()

    @property
    def site(self) -> str:
        """The id of the site."""
        return self.place or self.name

    @property
    def units(self) -> int:
        return sum(self.node_units)

    @property
    def kw_per_unit(self) -> float | None:
        """Power drawn from the grid for one unit at work, or None."""
        watts, usage = self.watts_per_unit, self.power_usage_effectiveness
        return None if watts is None or usage is None else watts * usage / 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinLink:
    """What lies between two sites, the same in both directions; None where it is not known."""

    ends: frozenset[str]
    gbit_s: float | None
    round_trip_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """Sites, the links between them, and which pool of the trace keeps to which lane (none: all share one queue)."""

    sites: tuple[TwinSite, ...]
    pools: tuple[tuple[str, int], ...] = ()
    links: tuple[TwinLink, ...] = ()
    begins: datetime | None = None
    """What the clock shows at the trace's origin; None where the trace has no date, and its origin counts as a local midnight."""
    carbon: Literal["location", "market"] = "location"
    """Which carbon factor a policy that weighs carbon is told; both are accounted."""

    @property
    def places(self) -> tuple[str, ...]:
        """The sites' ids, each once."""
        return tuple(dict.fromkeys(site.site for site in self.sites))

    def site(self, name: str) -> TwinSite:
        """Return the row of that name, or the only row of that site. Raises NotFound, BadInput."""
        rows = self.rows(name)
        if len(rows) > 1:
            raise BadInput(f"The site '{name[:80]}' has {len(rows)} pools.", f"Name one: {', '.join(row.name for row in rows)}.")
        return rows[0]

    def rows(self, name: str) -> tuple[TwinSite, ...]:
        """Return the row of that name, or every row of that site. Raises NotFound."""
        found = tuple(site for site in self.sites if site.name == name) or tuple(site for site in self.sites if site.site == name)
        if not found:
            raise NotFound(f"There is no site '{name[:80]}'.", f"There are: {', '.join(site.name for site in self.sites[:20])}.")
        return found

    def changed(self, name: str, change: Callable[[TwinSite], TwinSite | None]) -> Federation:
        """Return the federation with every row of that name changed, or taken out where the change gives None."""
        rows = self.rows(name)
        kept = tuple(change(site) if site in rows else site for site in self.sites)
        return replace(self, sites=tuple(site for site in kept if site is not None))

    def gib_per_s(self, one: str, other: str) -> float | None:
        """Return the bandwidth between two sites, None where there is no link or none is stated."""
        gbit_s = next((link.gbit_s for link in self.links if link.ends == {one, other}), None)
        return None if gbit_s is None else gbit_s * GIB_PER_GBIT


def read_sites(path: Path, *, silos: bool, begins: datetime | None = None) -> Federation:
    """Return the sites in a Parquet list of nodes (one site a virtual cluster) or a catalogue file (.toml).

    With `silos` every site keeps to its own jobs, found by the pool's name in the trace; without, all share one queue.
    """
    from headwater.compute.twin.from_catalogue import from_catalogue

    if not path.is_file():
        raise NotFound(f"There is no site list '{path}'.", "Give a .parquet list of nodes or a .toml catalogue of sites.")
    found = from_catalogue(path, begins) if path.suffix == ".toml" else Federation(sites=_from_nodes(path), begins=begins)
    return apart(found) if silos else found


def apart(federation: Federation) -> Federation:
    """Return the federation with every site keeping to the jobs of its own pool."""
    lane = {name: row for row, name in enumerate(federation.places)}
    return replace(federation, sites=tuple(replace(site, lane=lane[site.site]) for site in federation.sites), pools=tuple(lane.items()))


def shapes_for(federation: Federation) -> tuple[SiteShape, ...]:
    """Return the rows as the scheduler sees them: prices by the hour of the trace's clock, links, residency, maintenance."""
    price = {row.site: row.egress_fen_per_gib for row in federation.sites}
    return tuple(_shape(row, federation, price) for row in federation.sites)


def _shape(row: TwinSite, federation: Federation, egress_fen: dict[str, float | None]) -> SiteShape:
    inbound = tuple(
        Inbound(place=place, gib_per_s=rate, fen_per_gib=fen)
        for place, fen in egress_fen.items()
        if place != row.site and (rate := federation.gib_per_s(place, row.site)) is not None
    )
    kw, carbon = row.kw_per_unit, getattr(row, f"{federation.carbon}_kgco2_per_kwh")
    return SiteShape(
        name=row.name,
        node_units=row.node_units,
        lane=row.lane,
        speed=row.speed,
        place=row.site,
        chip=row.chip,
        figures=row.figures,
        memory_gib=row.chip_memory_gib,
        residency=row.residency or frozenset(),
        inbound=inbound,
        fen_per_unit_h=_fen_by_hour(row),
        kgco2_per_unit_h=None if kw is None or carbon is None else (kw * carbon,),
        windows=_windows(row, federation.begins),
    )


def _fen_by_hour(row: TwinSite) -> tuple[float, ...] | None:
    """Return what an hour of a unit costs, hire and electricity, for each hour from the trace's origin; None where not known."""
    if row.fen_per_unit_h is None:
        return None
    if row.tariff is None or row.kw_per_unit is None:
        return (row.fen_per_unit_h,)
    hours = np.arange(0.0, 24 * HOUR_S, HOUR_S)
    return tuple(float(fen) for fen in row.fen_per_unit_h + row.kw_per_unit * row.tariff.fen_per_kw(hours, hours + HOUR_S))


def _windows(row: TwinSite, begins: datetime | None) -> tuple[Window, ...]:
    if begins is None:
        return ()
    return tuple(
        Window(from_s=(since - begins).total_seconds(), to_s=(until - begins).total_seconds(), reason=reason)
        for since, until, reason in row.maintenance
        if until > begins
    )


def _from_nodes(path: Path) -> tuple[TwinSite, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(path).select(["gpus", "virtual_cluster", "gpu_type"]).to_pydict()
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise BadInput(
            f"Not a list of nodes: {str(error)[:200]}.", "It needs the columns gpus, gpu_type and virtual_cluster.", where=str(path)
        ) from error
    nodes: dict[tuple[str, str | None], list[int]] = {}
    for gpus, pool, chip in zip(columns["gpus"], columns["virtual_cluster"], columns["gpu_type"], strict=True):
        if gpus:
            nodes.setdefault((pool or "all", chip), []).append(int(gpus))
    kinds = [pool for pool, _ in nodes]
    return tuple(
        TwinSite(
            name=pool if kinds.count(pool) == 1 else f"{pool}/{chip or 'any'}", place=pool, node_units=tuple(nodes[pool, chip]), chip=chip
        )
        for pool, chip in sorted(nodes, key=lambda key: (key[0], key[1] or ""))
    )


def one_site(units: int, units_per_node: int) -> Federation:
    """Return a single site of equal nodes."""
    if units <= 0 or units_per_node <= 0 or units % units_per_node:
        raise BadInput(f"{units} units do not divide into nodes of {units_per_node}.", "Give a multiple, such as 64 and 8.")
    return Federation(sites=(TwinSite(name="site", node_units=(units_per_node,) * (units // units_per_node)),))
