"""A question "what if": one change each to the sites, quotas or prices of a replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from headwater.compute.scheduler.shapes import QueueShape
from headwater.compute.twin.simulate import Outage
from headwater.compute.twin.sites import Federation, TwinLink, TwinSite
from headwater.core.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The changes asked, as the command line gives them."""

    add_site: tuple[str, ...] = ()
    """NAME=NODESxUNITS, or NAME=NODESxUNITS:SITE for one that is like SITE in all else"""
    remove_site: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    """SITE=COUNT"""
    quota: tuple[str, ...] = ()
    """TENANT=UNITS"""
    price: tuple[str, ...] = ()
    """SITE=FEN per unit and hour"""
    link: tuple[str, ...] = ()
    """SITE:SITE=GBIT a second; 0 cuts it"""
    lose: tuple[str, ...] = ()
    """SITE@SECONDS"""

    def __bool__(self) -> bool:
        return any((self.add_site, self.remove_site, self.nodes, self.quota, self.price, self.link, self.lose))


def parted(text: str, by: str, form: str) -> tuple[str, str]:
    """Return both sides of a NAME=VALUE text. Raises BadInput."""
    name, found, value = text.rpartition(by)
    if not found or not name or not value:
        raise BadInput(f"'{text[:80]}' is not of the form {form}.", f"Write {form}.")
    return name, value


def number(text: str, whole: str, least: float = 0.0) -> float:
    """Return a number of at least `least`. Raises BadInput."""
    try:
        value = float(text)
    except ValueError as error:
        raise BadInput(f"'{text[:40]}' in '{whole[:80]}' is not a number.", "Write digits.") from error
    if not least <= value < float("inf"):
        raise BadInput(f"{text[:40]} in '{whole[:80]}' is out of range.", f"Give a finite number of at least {least:g}.")
    return value


def changed_sites(federation: Federation, asked: WhatIf) -> Federation:
    """Return the federation as the changes make it. Raises BadInput, NotFound."""
    for text in asked.add_site:
        federation = _with_site(federation, text)
    for text in asked.remove_site:
        federation = federation.changed(text, lambda _: None)
    for text in asked.nodes:
        federation = _with_nodes(federation, text)
    for text in asked.price:
        name, fen = parted(text, "=", "SITE=FEN")
        federation = federation.changed(name, partial(replace, fen_per_unit_h=number(fen, text)))
    for text in asked.link:
        federation = _with_link(federation, text)
    if not federation.sites:
        raise BadInput("No site is left.", "Remove fewer.")
    return federation


def _with_site(federation: Federation, text: str) -> Federation:
    form = "NAME=NODESxUNITS or NAME=NODESxUNITS:SITE"
    name, shape = parted(text, "=", form)
    shape, _, like = shape.partition(":")
    nodes, units = parted(shape, "x", form)
    if any(name in (site.name, site.site) for site in federation.sites):
        raise BadInput(f"There already is a site '{name[:80]}'.", "Change its nodes, or choose another name.")
    lane = max(site.lane for site in federation.sites) + 1 if federation.pools else 0
    pattern = federation.site(like) if like else TwinSite(name=name, node_units=())
    site = replace(
        pattern, name=name, place="", node_units=(int(number(units, text, 1)),) * int(number(nodes, text, 1)), lane=lane, maintenance=()
    )
    pools = (*federation.pools, (name, lane)) if federation.pools else ()
    links = tuple(replace(link, ends=link.ends - {pattern.site} | {name}) for link in federation.links if pattern.site in link.ends)
    return replace(federation, sites=(*federation.sites, site), pools=pools, links=(*federation.links, *links))


def _with_nodes(federation: Federation, text: str) -> Federation:
    name, count = parted(text, "=", "SITE=COUNT")
    site = federation.site(name)
    units = max(site.node_units, default=1)
    return federation.changed(site.name, partial(replace, node_units=(units,) * int(number(count, text, 1))))


def _with_link(federation: Federation, text: str) -> Federation:
    ends, gbit_s = parted(text, "=", "SITE:SITE=GBIT")
    one, other = parted(ends, ":", "SITE:SITE=GBIT")
    pair = frozenset(federation.rows(name)[0].site for name in (one, other))
    if len(pair) == 1:
        raise BadInput(f"'{text[:80]}' links a site to itself.", "Name two sites.")
    kept = tuple(link for link in federation.links if link.ends != pair)
    rate = number(gbit_s, text)
    return replace(federation, links=(*kept, TwinLink(ends=pair, gbit_s=rate)) if rate > 0 else kept)


def quotas(asked: WhatIf, tenants: Sequence[str]) -> dict[str, int]:
    """Return the units each named tenant may hold. Raises BadInput for a tenant that the trace does not name."""
    found: dict[str, int] = {}
    for text in asked.quota:
        name, units = parted(text, "=", "TENANT=UNITS")
        if name not in tenants:
            raise BadInput(f"The trace names no tenant '{name[:80]}'.", f"It names: {', '.join(tenants[:20]) or 'none'}.")
        found[name] = int(number(units, text))
    return found


def queues_with(tenants: Sequence[str], limits: dict[str, int]) -> tuple[QueueShape, ...]:
    """Return one queue a tenant; a quota is firm, nothing is borrowed above it."""
    return tuple(QueueShape(name=name, quota=limits.get(name), may_borrow=False) for name in tenants)


def outages(asked: WhatIf, federation: Federation, first_submit_s: float) -> tuple[Outage, ...]:
    """Return the losses of sites, each with all its pools, in seconds after the first submission."""
    found = []
    for text in asked.lose:
        name, at = parted(text, "@", "SITE@SECONDS")
        found += [Outage(site=row.name, at_s=first_submit_s + number(at, text)) for row in federation.rows(name)]
    return tuple(found)
