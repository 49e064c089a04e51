"""How easily a row of a table is found again (El Emam and Arbuckle, "Anonymizing Health Data", 2013, chapter 3).

- prosecutor: the intruder knows that the person is in the table: 1 / size of the row's class.
- journalist: the intruder only knows the population: 1 / size of the class there. Unknown without the population.
- marketer: the share of all rows that an intruder can match on average.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

NO_POPULATION = "needs a table of the population with the same quasi-identifiers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """The risk of one table; shares from 0 to 1. What cannot be known is None."""

    rows: int
    classes: int
    smallest_class: int
    unique_share: float
    prosecutor_highest: float
    prosecutor_mean: float
    prosecutor_share_at_risk: float
    threshold: float
    journalist_highest: float | None
    marketer: float
    marketer_against: str
    """`table` where the table itself is the population, else `population`."""
    unknown: str = ""


def risk(keys: Sequence[Hashable], threshold: float, population: Sequence[Hashable] | None = None) -> Risk:
    """Return the risk of rows by their quasi-identifiers; an empty table has none."""
    sizes = Counter(keys)
    rows = len(keys)
    if not rows:
        return Risk(
            rows=0,
            classes=0,
            smallest_class=0,
            unique_share=0,
            prosecutor_highest=0,
            prosecutor_mean=0,
            prosecutor_share_at_risk=0,
            threshold=threshold,
            journalist_highest=0,
            marketer=0,
            marketer_against="table",
            unknown="the table is empty",
        )
    smallest = min(sizes.values())
    known = Counter(population) if population is not None else None
    outside = {key: max(known[key], size) for key, size in sizes.items()} if known is not None else sizes
    return Risk(
        rows=rows,
        classes=len(sizes),
        smallest_class=smallest,
        unique_share=sum(size for size in sizes.values() if size == 1) / rows,
        prosecutor_highest=1 / smallest,
        prosecutor_mean=len(sizes) / rows,
        prosecutor_share_at_risk=sum(size for size in sizes.values() if 1 / size > threshold) / rows,
        threshold=threshold,
        journalist_highest=1 / min(outside.values()) if known is not None else None,
        marketer=sum(size / outside[key] for key, size in sizes.items()) / rows,
        marketer_against="table" if known is None else "population",
        unknown=NO_POPULATION if known is None else "",
    )
