"""How good a version is: scores from 0 to 1, each defined here, computed from its data. What cannot be computed is unknown.

| score        | is the share of …                                                                        |
| ------------ | ---------------------------------------------------------------------------------------- |
| completeness | cells that hold a value, over all columns                                                  |
| uniqueness   | rows that do not repeat an earlier row                                                      |
| validity     | cells, of the columns with rules, that keep to the description's rules                      |
| consistency  | text cells without stray spaces, invisible characters or undecodable ones                   |
| description  | columns described in both languages                                                         |
| timeliness   | 1 within the update rhythm, then rhythm / age; computed when it is looked at, not stored    |

After GB/T 36344-2018 (evaluation indicators of data quality), whose accuracy we leave unknown: it
needs a truth to compare with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.data.catalogue.describe import ColumnRule
from headwater.data.catalogue.sets import Column, Rhythm

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS_COMPARED = 20_000_000
STRAY = r"^\s|\s$|[\x{0000}-\x{0008}\x{000B}\x{000C}\x{000E}-\x{001F}\x{FFFD}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{FEFF}]"
PERIOD: Mapping[Rhythm, timedelta] = {
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=31),
    "quarterly": timedelta(days=92),
    "yearly": timedelta(days=366),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score with what it was counted from; `value` is None where it is unknown, and `because` says why."""

    value: float | None
    good: int | None = None
    of: int | None = None
    because: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the score as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def unknown(because: str) -> Score:
    """Return a score that could not be computed."""
    return Score(value=None, because=because)


def share(good: int, of: int, because: str) -> Score:
    """Return a score counted from cells or rows."""
    return Score(value=good / of, good=good, of=of) if of else unknown(because)


def assess(files: Sequence[Path], columns: Sequence[Column], rules: Sequence[ColumnRule]) -> dict[str, Score]:
    """Return the scores of a table in Parquet files; all but `description` are unknown where there is none."""
    described = share(sum({"zh", "en"} <= set(one.about) for one in columns), len(columns), "there is no table")
    if not files:
        nothing = unknown("there is no table")
        return dict.fromkeys(("completeness", "uniqueness", "validity", "consistency"), nothing) | {"description": described}
    import polars as pl

    frame = pl.scan_parquet(list(files))
    counts = _counted(frame, columns, rules)
    rows = counts.pop("rows")
    ruled = [rule for rule in rules if rule.ruled]
    texts = [one for one in columns if one.type in ("text", "category") and f"stray {one.name}" in counts]
    missing = sum(counts[f"missing {one.name}"] for one in columns)
    present = sum(rows - counts[f"missing {one.name}"] for one in texts)
    return {
        "completeness": share(rows * len(columns) - missing, rows * len(columns), "there are no cells"),
        "uniqueness": _uniqueness(frame, rows),
        "validity": share(
            rows * len(ruled) - sum(counts[f"broken {one.name}"] for one in ruled), rows * len(ruled), "the description states no rules"
        ),
        "consistency": share(present - sum(counts[f"stray {one.name}"] for one in texts), present, "there are no text cells"),
        "description": described,
    }


def timeliness(rhythm: Rhythm, issued: datetime | None, now: datetime) -> Score:
    """Return how timely the newest version is at `now`. Pure."""
    if issued is None:
        return unknown("nothing is published yet")
    if rhythm not in PERIOD:
        return unknown("the data set has no update rhythm")
    age, period = now - issued, PERIOD[rhythm]
    return Score(value=1.0 if age <= period else period / age, because=f"{age.days} days old, updated {rhythm}")


def _counted(frame: pl.LazyFrame, columns: Sequence[Column], rules: Sequence[ColumnRule]) -> dict[str, int]:
    import polars as pl

    kinds = frame.collect_schema()
    wanted = [pl.len().alias("rows")]
    for one in columns:
        cell, is_text = pl.col(one.name), kinds[one.name] == pl.String
        missing = cell.is_null() | (cell.str.strip_chars() == "") if is_text else cell.is_null()
        wanted.append(missing.sum().alias(f"missing {one.name}"))
        if is_text:
            wanted.append(cell.str.contains(STRAY).sum().alias(f"stray {one.name}"))
    wanted += [_broken(rule, kinds[rule.name]).sum().alias(f"broken {rule.name}") for rule in rules if rule.ruled]
    return {name: int(count or 0) for name, count in frame.select(wanted).collect(engine="streaming").row(0, named=True).items()}


def _broken(rule: ColumnRule, kind: pl.DataType) -> pl.Expr:
    """Return the expression for the cells of a column that break one of its rules; an empty cell breaks `required` only."""
    import polars as pl

    cell = pl.col(rule.name)
    text = cell if kind == pl.String else cell.cast(pl.String)
    broken = pl.lit(False)
    if rule.values:
        broken = broken | ~text.is_in(list(rule.values))
    if rule.pattern:
        broken = broken | ~text.str.contains(f"^(?:{rule.pattern})$")
    if rule.minimum is not None and kind.is_numeric():
        broken = broken | (cell < rule.minimum)
    if rule.maximum is not None and kind.is_numeric():
        broken = broken | (cell > rule.maximum)
    return broken.fill_null(False) | (cell.is_null() if rule.required else pl.lit(False))


def _uniqueness(frame: pl.LazyFrame, rows: int) -> Score:
    import polars as pl

    if rows > MOST_ROWS_COMPARED:
        return unknown(f"more than {MOST_ROWS_COMPARED} rows: they are not compared")
    distinct = frame.select(pl.struct(pl.all()).hash(seed=0).n_unique()).collect(engine="streaming").item()
    return share(int(distinct), rows, "there are no rows")
