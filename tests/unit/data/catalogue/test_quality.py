"""Scores of a table, each against a count by hand; what cannot be computed is unknown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headwater.data.catalogue.describe import ColumnRule
from headwater.data.catalogue.quality import assess, timeliness
from headwater.data.catalogue.sets import Column, Rhythm

WORDS = {"zh": "名", "en": "name"}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Give four rows: one repeated, one name missing, one with a stray space, one age out of range."""
    frame = pl.DataFrame({"name": ["甲", "甲", " 乙", None], "age": [30, 30, 200, None]})
    frame.write_parquet(tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def columns() -> tuple[Column, ...]:
    return (Column(name="name", type="text", about=WORDS), Column(name="age", type="integer", about={}))


def rule(name: str, kind: Any, **more: Any) -> ColumnRule:
    return ColumnRule(name=name, type=kind, **more)


def test_each_score_is_what_a_count_by_hand_gives(table: Path) -> None:
    rules = [rule("name", "text", values=("甲", "乙")), rule("age", "integer", minimum=0, maximum=150, required=True)]
    scores = assess([table], columns(), rules)
    assert {name: (one.good, one.of) for name, one in scores.items()} == {
        "completeness": (6, 8),
        "uniqueness": (3, 4),
        "validity": (5, 8),  # ' 乙' is no allowed value; 200 is too much; the missing age was required
        "consistency": (2, 3),
        "description": (1, 2),
    }
    assert scores["completeness"].value == 0.75


def test_without_rules_validity_is_unknown_and_says_why(table: Path) -> None:
    score = assess([table], columns(), [])["validity"]
    assert (score.value, score.because) == (None, "the description states no rules")


def test_a_pattern_must_fit_the_whole_value(table: Path) -> None:
    assert assess([table], columns(), [rule("name", "text", pattern="[甲乙]")])["validity"].good == 3


def test_without_a_table_every_score_of_cells_is_unknown() -> None:
    scores = assess([], [], [])
    assert {one.value for one in scores.values()} == {None}


@pytest.mark.parametrize(
    ("rhythm", "age_days", "value"),
    [("monthly", 31, 1.0), ("monthly", 62, 0.5), ("daily", 10, 0.1), ("once", 10, None), ("irregular", 1, None)],
)
def test_timeliness_falls_with_age_beyond_the_rhythm(rhythm: Rhythm, age_days: int, value: float | None) -> None:
    assert timeliness(rhythm, NOW - timedelta(days=age_days), NOW).value == value
    assert timeliness(rhythm, None, NOW).value is None
