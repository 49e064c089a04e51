"""A schematic map of sites: where each lies on the drawing, and the links between them with their distances. Pure.

Sites keep their directions from one another; those too near to be told apart are moved a little. Sites whose place nobody has stated
stand in rows below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headwater.compute.catalogue.figures import Figure, Unknown
from headwater.compute.catalogue.sites import Link, Site
from headwater.compute.presence import SiteNow

WIDTH, HEIGHT, MARGIN = 760.0, 380.0, 44.0
RADIUS = 15.0
APART = 2 * RADIUS + 8
ROW = 2 * RADIUS + 18
EARTH_KM = 6371.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A site on the drawing; `name` is written only where the map has room for names."""

    site: SiteNow
    x: float
    y: float
    located: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A link on the drawing. `km` is the great-circle distance; None where a place is not stated."""

    ends: tuple[str, str]
    x1: float
    y1: float
    x2: float
    y2: float
    km: float | None
    bandwidth_gbit_s: Figure | Unknown
    round_trip_ms: Figure | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """The drawing."""

    places: tuple[Place, ...]
    lines: tuple[Line, ...]
    height: float
    width: float = WIDTH
    radius: float = RADIUS


def drawn(found: Sequence[SiteNow], links: Sequence[Link] = ()) -> Map:
    """Return the map of some sites and of the links between them."""
    located = [site for site in found if _degrees(site.facts) is not None]
    rest = [site for site in found if _degrees(site.facts) is None]
    spots = _spread(_projected(located))
    top = HEIGHT + RADIUS if located else MARGIN  # clear of one that was moved down to the edge
    a_row = int((WIDTH - 2 * MARGIN) // ROW) + 1
    below = [(MARGIN + (number % a_row) * ROW, top + (number // a_row) * ROW) for number in range(len(rest))]
    places = [_place(site, spot, located=True) for site, spot in zip(located, spots, strict=True)]
    places += [_place(site, spot, located=False) for site, spot in zip(rest, below, strict=True)]
    bottom = max((place.y for place in places), default=MARGIN) + MARGIN
    return Map(places=tuple(places), lines=_lines(places, links), height=round(max(bottom, 2 * MARGIN), 1))


def distance_km(one: Site, other: Site) -> float | None:
    """Return the great-circle distance between two sites; None where a place is not stated."""
    here, there = _degrees(one), _degrees(other)
    if here is None or there is None:
        return None
    (lat1, lon1), (lat2, lon2) = ((math.radians(lat), math.radians(lon)) for lat, lon in (here, there))
    chord = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(chord, 1.0)))


def _degrees(site: Site | None) -> tuple[float, float] | None:
    if site is None or site.latitude is None or site.longitude is None:
        return None
    return site.latitude, site.longitude


def _projected(located: Sequence[SiteNow]) -> list[tuple[float, float]]:
    """Return places on the drawing, at one scale in both directions."""
    degrees = [one for site in located if (one := _degrees(site.facts)) is not None]
    if not degrees:
        return []
    squeeze = math.cos(math.radians(sum(lat for lat, _ in degrees) / len(degrees)))
    flat = [(lon * squeeze, -lat) for lat, lon in degrees]
    left, top = min(x for x, _ in flat), min(y for _, y in flat)
    wide, high = max(x for x, _ in flat) - left, max(y for _, y in flat) - top
    scale = min((WIDTH - 2 * MARGIN) / max(wide, 1e-6), (HEIGHT - 2 * MARGIN) / max(high, 1e-6))
    scale = 0.0 if wide == high == 0 else scale
    shift_x, shift_y = (WIDTH - wide * scale) / 2, (HEIGHT - high * scale) / 2
    return [(shift_x + (x - left) * scale, shift_y + (y - top) * scale) for x, y in flat]


def _spread(spots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spots, each moved along a spiral from where it lies until it is apart from those before it."""
    kept: list[tuple[float, float]] = []
    for x, y in spots:
        turn = 0
        at = (x, y)
        while any(math.dist(at, other) < APART for other in kept) and turn < 2000:
            turn += 1
            angle, away = turn * 2.4, APART * math.sqrt(turn) / 3
            at = (_within(x + away * math.cos(angle), WIDTH), _within(y + away * math.sin(angle), HEIGHT))
        kept.append(at)
    return kept


def _within(value: float, size: float) -> float:
    return min(max(value, RADIUS + 4), size - RADIUS - 4)


def _place(site: SiteNow, spot: tuple[float, float], *, located: bool) -> Place:
    return Place(site=site, x=round(spot[0], 1), y=round(spot[1], 1), located=located)


def _lines(places: Sequence[Place], links: Sequence[Link]) -> tuple[Line, ...]:
    by_id: Mapping[str, Place] = {place.site.id: place for place in places}
    return tuple(_line(by_id[link.between[0]], by_id[link.between[1]], link) for link in links if set(link.between) <= set(by_id))


def _line(one: Place, other: Place, link: Link) -> Line:
    facts = one.site.facts, other.site.facts
    return Line(
        ends=link.between,
        x1=one.x,
        y1=one.y,
        x2=other.x,
        y2=other.y,
        km=None if facts[0] is None or facts[1] is None else distance_km(facts[0], facts[1]),
        bandwidth_gbit_s=link.bandwidth_gbit_s,
        round_trip_ms=link.round_trip_ms,
    )
