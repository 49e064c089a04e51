"""The plan file: the facts of the source, our own words, and every fault found at once."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from headwater.core.errors import NotFound, Unavailable
from headwater.plan.plan import BadPlan, Target, load, read
from tests.conftest import shared


def told() -> dict[str, Any]:
    found: dict[str, Any] = load().model_dump(mode="json", by_alias=True)
    return deepcopy(found)


def flat(clauses: list[dict[str, Any]], parent: str = "") -> list[tuple[str, str, str, str, tuple[str, ...]]]:
    found = []
    for one in clauses:
        found.append((one["id"], one["ref"], one["kind"], parent, tuple(one.get("bodies", ()))))
        found += flat(one.get("children", []), one["id"])
    return found


def test_the_shipped_plan_has_the_clauses_and_indicators_of_the_source() -> None:
    source = yaml.safe_load(shared("plan/plan.yaml").read_text(encoding="utf-8"))
    plan = load()
    assert [(one.id, one.ref, one.kind, one.parent, one.bodies) for one in plan.clauses] == flat(source["clauses"])
    assert [(one.id, one.clause, one.kind) for one in plan.indicators] == [
        (one["id"], one["clause"], one["kind"]) for one in source["indicators"]
    ]
    assert set(plan.bodies) == set(source["body_kinds"])
    numbers = {one["id"]: one["value"] for one in source["indicators"] if one["kind"] == "quantified"}
    for one in plan.indicators:
        if one.kind == "quantified" and one.target is not None:
            expected = numbers[one.id]
            assert (one.target.value, one.target.upper) == (tuple(expected) if isinstance(expected, list) else (expected, None))


def test_the_shipped_plan_has_34_clauses_and_37_indicators_in_words_of_its_own() -> None:
    plan = load()
    assert (len(plan.clauses), len(plan.indicators)) == (34, 37)
    path = Path(__file__).resolve().parents[3].parent / "shared" / "plan" / "plan.yaml"
    if path.exists():
        source = path.read_text(encoding="utf-8")
        copied = [one.id for one in plan.clauses if one.summary.en in source]
        assert copied == []


def test_no_indicator_holds_a_figure_and_each_has_a_query_or_is_unlinked() -> None:
    linked = {one.id for one in load().indicators if one.query is not None}
    assert linked == {"D12", "M03", "M05", "M07"}


def test_every_fault_is_reported_at_once() -> None:
    plan = told()
    plan["clauses"][1]["parent"] = "XX"
    plan["clauses"][2]["bodies"] = ["aliens"]
    plan["clauses"][3]["evidence"] = [{"title": {"zh": "甲", "en": "a"}}]
    plan["clauses"][4]["id"] = plan["clauses"][0]["id"]
    plan["indicators"][0]["clause"] = "T99"
    plan["indicators"][1]["owner"] = "nobody"
    plan["indicators"][3]["target"]["upper"] = None
    with pytest.raises(BadPlan) as found:
        read(yaml.safe_dump(plan, allow_unicode=True), "mine.yaml")
    message = str(found.value)
    for part in ("'XX'", "'aliens'", "Name either", "more than once", "'T99'", "'nobody'", "upper end"):
        assert part in message


@pytest.mark.parametrize("key", ["value", "actual", "figure"])
def test_a_typed_in_figure_is_refused(key: str) -> None:
    plan = told()
    plan["indicators"][0][key] = 312_000_000_000
    with pytest.raises(BadPlan, match="Extra inputs are not permitted"):
        read(yaml.safe_dump(plan, allow_unicode=True))


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "a: &x [*x]"])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(BadPlan):
        read(text)


def test_a_plan_file_that_is_not_there_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="plan_file"):
        load(str(tmp_path / "none.yaml"))


def test_an_unknown_clause_is_not_found() -> None:
    with pytest.raises(NotFound):
        load().clause("T99")


@pytest.mark.parametrize(
    ("target", "figure", "reached"),
    [
        (Target(op=">=", value=10), 10, True),
        (Target(op=">", value=10), 10, False),
        (Target(op="between", value=5, upper=10), 7, True),
        (Target(op="between", value=5, upper=10), 11, False),
        (Target(op="<=", value=3), 3, True),
        (Target(op="<", value=3), 3, False),
    ],
)
def test_a_target_is_weighed_as_written(target: Target, figure: float, reached: bool) -> None:
    assert target.reached(figure) is reached
