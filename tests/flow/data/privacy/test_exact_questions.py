"""Exact answers: no small cell, no line that can be solved, no two answers whose difference tells of a few."""

from __future__ import annotations

import threading
from typing import Any

import polars as pl
import pytest

from headwater.core import ledger
from headwater.core.errors import BadInput
from headwater.core.platform import Platform
from headwater.data.privacy.protected import asking
from headwater.data.privacy.protected.asking import TooRevealing
from headwater.data.privacy.protected.budget import BudgetSpent
from headwater.data.privacy.protected.questions import AggregateQuestion
from tests.flow.data.privacy.people_table import asker, frame, protect


def question(**more: object) -> AggregateQuestion:
    return AggregateQuestion.model_validate(more)


def test_counts_sums_and_means_are_those_of_the_rows(any_site: Platform) -> None:
    protect(any_site)
    asked = question(group_by=["sex"], measures=[{"kind": "sum", "column": "income"}, {"kind": "mean", "column": "age"}])
    answer = asking.ask_exact(any_site, asker(any_site), "people", asked).answer
    truth = frame().group_by("sex").agg(pl.len(), pl.col("income").sum(), pl.col("age").mean()).sort("sex").rows()
    told = [
        (*cell["key"], cell["figures"]["count"], cell["figures"]["sum(income)"], cell["figures"]["mean(age)"]) for cell in answer["cells"]
    ]
    assert told == truth
    assert answer["left_out"] == [[None]]


def test_a_small_cell_and_those_that_would_give_it_away_are_left_out(site: Platform) -> None:
    protect(site)
    answer = asking.ask_exact(site, asker(site), "people", question(group_by=["sex", "district"])).answer
    out = {tuple(key) for key in answer["left_out"] if None not in key}
    assert ("M", "north") in out  # six men
    for place in (0, 1):  # no row or column has exactly one cell left out
        for line in {key[place] for key in out}:
            assert sum(key[place] == line for key in out) >= 2
    assert answer["cells"]


def test_one_row_that_dominates_a_sum_is_not_told(site: Platform) -> None:
    protect(site, dominance=0.006)
    asked = question(group_by=["sex"], measures=[{"kind": "sum", "column": "income"}])
    answer = asking.ask_exact(site, asker(site), "people", asked).answer
    assert answer["cells"] == []  # 189 of about 28,000 is more than 0.6 per cent


def test_too_few_rows_are_refused_and_the_refusal_is_recorded(site: Platform) -> None:
    protect(site)
    where = [{"column": "district", "is": "equal", "value": "north"}, {"column": "sex", "is": "equal", "value": "M"}]
    with pytest.raises(TooRevealing, match="Fewer than 10 rows fit"):
        asking.ask_exact(site, asker(site), "people", question(where=where))
    with site.db.read() as connection:
        (entry,) = ledger.entries(connection, kind="privacy.exact")
    assert entry.body["state"] == "refused"


def test_two_answers_that_differ_by_a_few_rows_are_not_both_given(site: Platform) -> None:
    protect(site)
    actor = asker(site)
    asking.ask_exact(site, actor, "people", question(where=[{"column": "sex", "is": "equal", "value": "M"}]))
    without_six = [{"column": "sex", "is": "equal", "value": "M"}, {"column": "district", "is": "in", "value": ["east", "west"]}]
    with pytest.raises(TooRevealing, match="would together tell of fewer than 10 rows"):
        asking.ask_exact(site, actor, "people", question(where=without_six))
    assert asking.ask_exact(site, actor, "people", question(where=[{"column": "age", "is": "at_least", "value": 40}])).state == "answered"


def test_a_cell_that_differs_from_an_earlier_cell_by_a_few_rows_is_not_given(site: Platform) -> None:
    protect(site)
    actor = asker(site)
    asking.ask_exact(site, actor, "people", question(group_by=["sex"]))
    with pytest.raises(TooRevealing):
        asking.ask_exact(
            site, actor, "people", question(group_by=["sex"], where=[{"column": "district", "is": "in", "value": ["east", "west"]}])
        )


def test_the_number_of_exact_questions_is_limited_also_at_once(any_site: Platform) -> None:
    protect(any_site)
    actor = asker(any_site, most=3)
    outcomes: list[str] = []

    def ask(age: int) -> None:
        try:
            outcomes.append(
                asking.ask_exact(any_site, actor, "people", question(where=[{"column": "age", "is": "below", "value": age}])).state
            )
        except BudgetSpent:
            outcomes.append("spent")

    threads = [threading.Thread(target=ask, args=(25 + 6 * number,)) for number in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes) == ["answered"] * 3 + ["spent"] * 2


def test_a_column_that_was_not_declared_cannot_be_asked_about(site: Platform) -> None:
    protect(site)
    actor = asker(site)
    for wrong in ({"group_by": ["age"]}, {"group_by": ["name"]}, {"measures": [{"kind": "sum", "column": "sex"}]}):
        with pytest.raises(BadInput, match="may be asked about"):
            asking.ask_exact(site, actor, "people", question(**wrong))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"columns": [{"name": "sex", "kind": "category", "values": ["F"]}]}, r"row 0, column 'sex': 'M' is not a declared value"),
        ({"columns": [{"name": "sex", "kind": "number", "minimum": 0, "maximum": 1}]}, r"row 0, column 'sex': 'M' is not a number"),
        ({"columns": [{"name": "name", "kind": "category", "values": ["x"]}]}, r"There is no column 'name'"),
    ],
)
def test_rows_that_do_not_fit_the_declaration_are_named_with_row_and_column(site: Platform, change: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        protect(site, **change)


def test_an_empty_cell_is_named_like_one_that_is_too_small(site: Platform) -> None:
    protect(site)
    where = [{"column": "district", "is": "in", "value": ["east", "west"]}]
    answer = asking.ask_exact(site, asker(site), "people", question(group_by=["district"], where=where)).answer
    assert ["north"] in answer["left_out"]
