"""The sites of a replay: from a list of nodes or a catalogue file, and what a question "what if" does to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headwater.compute.scheduler.policy import Policy
from headwater.compute.scheduler.shapes import SiteShape
from headwater.core.errors import BadInput, NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinSite:
    """A site as the twin sees it; a price or carbon factor that is not known is None."""

    name: str
    node_units: tuple[int, ...]
    lane: int = 0
    fen_per_unit_h: float | None = None
    kgco2_per_kwh: float | None = None
    """Grid (location-based) factor times power usage effectiveness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """Sites, and which pool of the trace keeps to which lane (none: all share one queue)."""

    sites: tuple[TwinSite, ...]
    pools: tuple[tuple[str, int], ...] = ()

    def site(self, name: str) -> TwinSite:
        found = next((site for site in self.sites if site.name == name), None)
        if found is None:
            raise NotFound(f"There is no site '{name[:80]}'.", f"There are: {', '.join(site.name for site in self.sites[:20])}.")
        return found

    def changed(self, name: str, site: TwinSite | None) -> Federation:
        """Return the federation with one site replaced, or taken out."""
        self.site(name)
        kept = tuple(site if old.name == name else old for old in self.sites if site is not None or old.name != name)
        return replace(self, sites=tuple(old for old in kept if old is not None))


def read_sites(path: Path, *, silos: bool) -> Federation:
    """Return the sites in a Parquet list of nodes (one site a virtual cluster) or a catalogue file (.toml).

    With `silos` every site keeps to its own jobs, found by the pool's name in the trace; without, all share one queue.
    """
    if not path.is_file():
        raise NotFound(f"There is no site list '{path}'.", "Give a .parquet list of nodes or a .toml catalogue of sites.")
    sites = _from_catalogue(path) if path.suffix == ".toml" else _from_nodes(path)
    if not silos:
        return Federation(sites=sites)
    lanes = tuple(replace(site, lane=lane) for lane, site in enumerate(sites))
    return Federation(sites=lanes, pools=tuple((site.name, site.lane) for site in lanes))


def _from_nodes(path: Path) -> tuple[TwinSite, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(path, columns=["gpus", "virtual_cluster"]).to_pydict()
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        raise BadInput(
            f"Not a list of nodes: {str(error)[:200]}.", "It needs the columns gpus and virtual_cluster.", where=str(path)
        ) from error
    nodes: dict[str, list[int]] = {}
    for gpus, pool in zip(columns["gpus"], columns["virtual_cluster"], strict=True):
        if gpus:
            nodes.setdefault(pool or "all", []).append(int(gpus))
    return tuple(TwinSite(name=name, node_units=tuple(nodes[name])) for name in sorted(nodes))


def _from_catalogue(path: Path) -> tuple[TwinSite, ...]:
    from headwater.compute.catalogue.figures import Figure
    from headwater.compute.catalogue.sites import Site, sites

    def price(site: Site) -> float | None:
        known = [(pool.fen_per_chip_h.value, pool.chip_count) for pool in site.pools if isinstance(pool.fen_per_chip_h, Figure)]
        chips = sum(count for _, count in known)
        return sum(fen * count for fen, count in known) / chips if chips and len(known) == len(site.pools) else None

    def carbon(site: Site) -> float | None:
        grid, usage = site.location_kgco2_per_kwh, site.power_usage_effectiveness
        return grid.value * usage.value if isinstance(grid, Figure) and isinstance(usage, Figure) else None

    return tuple(
        TwinSite(
            name=site.id, node_units=tuple(pool.chips_per_node for pool in site.pools for _ in range(pool.nodes)),
            fen_per_unit_h=price(site), kgco2_per_kwh=carbon(site),
        )
        for site in sites(path)
    )  # fmt: skip


def one_site(units: int, units_per_node: int) -> Federation:
    """Return a single site of equal nodes."""
    if units <= 0 or units_per_node <= 0 or units % units_per_node:
        raise BadInput(f"{units} units do not divide into nodes of {units_per_node}.", "Give a multiple, such as 64 and 8.")
    return Federation(sites=(TwinSite(name="site", node_units=(units_per_node,) * (units // units_per_node)),))


def shapes_for(federation: Federation, policy: Policy) -> tuple[SiteShape, ...]:
    """Return the sites as the scheduler sees them; its score weighs price and carbon, each over the dearest site's.

    Raises BadInput where the policy weighs a figure that a site does not state.
    """
    price = _weighed(federation.sites, "fen_per_unit_h", policy.placement.price_weight)
    carbon = _weighed(federation.sites, "kgco2_per_kwh", policy.placement.carbon_weight)
    return tuple(
        SiteShape(name=site.name, node_units=site.node_units, lane=site.lane, score=price[row] + carbon[row])
        for row, site in enumerate(federation.sites)
    )


def _weighed(sites: Sequence[TwinSite], figure: str, weight: float) -> list[float]:
    if weight == 0:
        return [0.0] * len(sites)
    values = [getattr(site, figure) for site in sites]
    if None in values:
        missing = [site.name for site, value in zip(sites, values, strict=True) if value is None]
        raise BadInput(f"The policy weighs {figure}, which is not known for {', '.join(missing[:5])}.", "State it, or weigh it 0.")
    return [weight * value / (max(values) or 1.0) for value in values]
