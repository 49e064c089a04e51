"""The sites of a replay as a catalogue file has them: one row for each pool of chips. Unknown figures become None."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from headwater.compute.catalogue.figures import Figure, Unknown
from headwater.compute.catalogue.sites import Pool, Site, Sites, sites
from headwater.compute.scheduler.speeds import figures_of
from headwater.compute.twin.sites import Federation, TwinLink, TwinSite
from headwater.compute.twin.tariff import DAY_S, Tariff


def from_catalogue(path: Path, begins: datetime | None) -> Federation:
    """Return the sites and links of a catalogue file; `begins` is what the clock shows at the trace's origin."""
    found = sites(path)
    return Federation(sites=tuple(_row(site, pool, begins) for site in found for pool in site.pools), links=_links(found), begins=begins)


def known(figure: Figure | Unknown) -> float | None:
    return figure.value if isinstance(figure, Figure) else None


def _row(site: Site, pool: Pool, begins: datetime | None) -> TwinSite:
    power = known(pool.watts_per_chip)
    return TwinSite(
        name=f"{site.id}/{pool.name}" if len(site.pools) > 1 else site.id,
        place=site.id,
        node_units=(pool.chips_per_node,) * pool.nodes,
        chip=pool.chip.id,
        figures=figures_of(pool.chip),
        chip_memory_gib=known(pool.chip.figure("memory_gib")),
        residency=site.residency,
        fen_per_unit_h=known(pool.fen_per_chip_h),
        tariff=_tariff(site, begins),
        watts_per_unit=known(pool.chip.figure("power_w")) if power is None else power,
        power_usage_effectiveness=known(site.power_usage_effectiveness),
        location_kgco2_per_kwh=known(site.location_kgco2_per_kwh),
        market_kgco2_per_kwh=known(site.market_kgco2_per_kwh),
        egress_fen_per_gib=known(site.egress_fen_per_gib),
        maintenance=tuple((window.since, window.until, window.reason) for window in site.maintenance),
    )


def _tariff(site: Site, begins: datetime | None) -> Tariff | None:
    if not site.tariff:
        return None
    return Tariff(
        from_s=tuple(band.from_minute * 60.0 for band in site.tariff),
        fen_per_kwh=tuple(band.fen_per_kwh.value for band in site.tariff),
        midnight_s=0.0 if begins is None else -_seconds_into_day(begins, site.utc_offset_h),
    )


def _seconds_into_day(begins: datetime, utc_offset_h: float) -> float:
    local = begins.astimezone(timezone(timedelta(hours=utc_offset_h)))
    return (local - local.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds() % DAY_S


def _links(found: Sites) -> tuple[TwinLink, ...]:
    return tuple(
        TwinLink(ends=frozenset(link.between), gbit_s=known(link.bandwidth_gbit_s), round_trip_ms=known(link.round_trip_ms))
        for link in found.links
    )
