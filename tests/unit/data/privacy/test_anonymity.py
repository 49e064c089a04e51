"""Anonymous tables: the bounds hold in what is released, and no other generalisation loses less."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import BadFile, BadInput, LimitExceeded, Refused
from headwater.data.privacy.anonymity import lattice
from headwater.data.privacy.anonymity.anonymise import anonymise
from headwater.data.privacy.anonymity.declaration import Declaration, Quasi, read_declaration
from headwater.data.privacy.anonymity.hierarchy import Hierarchy, hierarchy
from headwater.data.privacy.anonymity.risk import risk
from headwater.data.table import RawTable, parse_csv

DECLARED = """schema: headwater.anonymity/1
k: 2
quasi_identifiers:
  age: {intervals: [10, 50]}
  town: {tree: {North: [A, B], South: [C, D]}}
sensitive:
  ill: {}
"""


def declared(**more: Any) -> Declaration:
    told = read_declaration(DECLARED.encode(), "d.yaml").model_dump(by_alias=True)
    return Declaration.model_validate(told | more)


def table(rows: list[tuple[int, str, str]]) -> RawTable:
    return parse_csv("age,town,ill\n" + "".join(f"{age},{town},{ill}\n" for age, town, ill in rows))


rows = st.lists(st.tuples(st.integers(0, 99), st.sampled_from("ABCD"), st.sampled_from(["flu", "cold", "gout"])), min_size=4, max_size=40)


def classes(made: Any) -> dict[tuple[str | None, ...], list[str | None]]:
    found: dict[tuple[str | None, ...], list[str | None]] = defaultdict(list)
    for age, town, ill in made.records:
        found[age, town].append(ill)
    return found


def slow_loss(hierarchies: list[Hierarchy], values: dict[str, list[Any]], node: tuple[int, ...], k: int) -> tuple[int, float]:
    """Return what a node suppresses for k and its loss, counted row by row in plain Python."""
    columns = [one.column for one in hierarchies]
    keys = [
        tuple(one.levels[level][values[one.column][row]] for one, level in zip(hierarchies, node, strict=True))
        for row in range(len(values[columns[0]]))
    ]
    sizes = Counter(keys)
    total = 0.0
    for row, key in enumerate(keys):
        if sizes[key] < k:
            total += 1
            continue
        for one, level in zip(hierarchies, node, strict=True):
            group = one.levels[level][values[one.column][row]]
            sharing = sum(other == group for other in one.levels[level].values())
            total += (sharing - 1) / max(1, len(one.levels[0]) - 1) / len(hierarchies)
    return sum(size for size in sizes.values() if size < k), total / len(keys)


@settings(max_examples=40)
@given(rows, st.integers(2, 4), st.sampled_from([0.0, 0.1, 0.5]))
def test_no_node_of_the_lattice_loses_less_than_the_one_found(given_rows: list[tuple[int, str, str]], k: int, suppression: float) -> None:
    values: dict[str, list[Any]] = {"age": [str(age) for age, _, _ in given_rows], "town": [town for _, town, _ in given_rows]}
    hierarchies = [hierarchy(name, declared().quasi_identifiers[name], values[name]) for name in values]
    weighed = [slow_loss(hierarchies, values, node, k) for node in itertools.product(range(4), range(3))]
    allowed = [
        loss
        for suppressed, loss in weighed
        if suppressed <= math.floor(suppression * len(given_rows) + 1e-9) and suppressed < len(given_rows)
    ]
    coded = lattice.code(hierarchies, values)
    if not allowed:
        with pytest.raises(Refused):
            lattice.search(coded, k, suppression)
        return
    assert lattice.search(coded, k, suppression).loss == pytest.approx(min(allowed))


@settings(max_examples=60)
@given(rows, st.integers(2, 3), st.sampled_from([{"l": 2}, {"l": 2, "diversity": "entropy"}, {"t": 0.3}, {"t": 0.2, "l": 2}]))
def test_every_released_class_keeps_the_bounds(given_rows: list[tuple[int, str, str]], k: int, bound: dict[str, Any]) -> None:
    try:
        made = anonymise(table(given_rows), declared(k=k, suppression=0.4, sensitive={"ill": bound}))
    except Refused:
        return
    whole = Counter(ill for members in classes(made).values() for ill in members)
    for members in classes(made).values():
        counted = Counter(members)
        assert len(members) >= k
        if bound.get("diversity") == "entropy":
            assert math.exp(-sum(n / len(members) * math.log(n / len(members)) for n in counted.values())) >= bound["l"] - 1e-6
        elif "l" in bound:
            assert len(counted) >= bound["l"]
        if "t" in bound:
            apart = sum(abs(counted[ill] / len(members) - whole[ill] / sum(whole.values())) for ill in whole) / 2
            assert apart <= bound["t"] + 1e-6
    assert made.report["released_rows"] + made.report["suppressed_rows"] == len(given_rows)
    assert made.report["suppressed_rows"] <= 0.4 * len(given_rows)


def test_values_are_generalised_as_declared_and_the_level_is_told() -> None:
    made = anonymise(table([(21, "A", "flu"), (24, "B", "cold"), (33, "C", "flu"), (38, "D", "gout")]), declared())
    assert made.records == (
        ("[20, 30)", "North", "flu"),
        ("[20, 30)", "North", "cold"),
        ("[30, 40)", "South", "flu"),
        ("[30, 40)", "South", "gout"),
    )
    assert made.report["levels"] == {"age": {"level": 1, "of": 3}, "town": {"level": 1, "of": 2}}
    assert made.report["risk_before"]["unique_share"] == 1
    assert made.report["risk_after"]["prosecutor_highest"] == 0.5
    assert "flu" not in str(made.report)


def test_a_missing_value_stays_missing_until_everything_goes() -> None:
    found = hierarchy("age", Quasi(intervals=(10,)), ["3", None])
    assert [level[None] for level in found.levels] == [None, None, "*"]


def test_characters_are_kept_from_the_left() -> None:
    found = hierarchy("post", Quasi(keep=(4, 2)), ["100086"])
    assert [level["100086"] for level in found.levels] == ["100086", "1000**", "10****", "*"]


@pytest.mark.parametrize(
    ("age", "town", "what"),
    [
        ("x", "A", r"row 1, column 'age': 'x' is not a number"),
        ("nan", "A", "row 1, column 'age'"),
        ("3", "Z", r"row 1, column 'town': 'Z' is not a value of the tree"),
    ],
)
def test_a_value_that_the_hierarchy_does_not_cover_is_named_with_row_and_column(age: str, town: str, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        anonymise(parse_csv(f"age,town,ill\n1,A,flu\n{age},{town},flu\n"), declared())


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(BadInput, match=r"There is no column 'town'. Columns: age, ill"):
        anonymise(parse_csv("age,ill\n1,flu\n"), declared())


def test_bounds_that_nothing_satisfies_are_refused_with_what_would_be_left_out() -> None:
    with pytest.raises(Refused, match=r"No generalisation satisfies k=5 with at most 0.0% of 3 rows left out .*at least 3"):
        anonymise(table([(1, "A", "flu"), (2, "B", "flu"), (3, "C", "flu")]), declared(k=5, sensitive={}))


def test_a_lattice_that_is_too_large_is_refused() -> None:
    names = [f"q{number}" for number in range(20)]
    text = ",".join(names) + "\n" + ",".join("1" * 20) + "\n"
    quasi = {name: {"intervals": [2, 4]} for name in names}
    with pytest.raises(LimitExceeded, match="The lattice has 1099511627776 nodes"):
        anonymise(parse_csv(text), declared(quasi_identifiers=quasi, sensitive={}))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (DECLARED.replace("k: 2", "k: 1"), "d.yaml:2, k: Input should be greater than or equal to 2"),
        (DECLARED.replace("[10, 50]", "[10, 15]"), "d.yaml:4, .*multiple"),
        (DECLARED + "drop: [age]\n", "stands in two of"),
        (DECLARED + "extra: 1\n", "d.yaml:8, extra"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_line(text: str, what: str) -> None:
    with pytest.raises(BadFile, match=what):
        read_declaration(text.encode(), "d.yaml")


def test_leaves_at_different_depths_are_refused() -> None:
    with pytest.raises(BadInput, match="'A' lies 1 groups deep and 'B' 2"):
        hierarchy("town", Quasi(tree={"North": ["A"], "South": {"Far": ["B"]}}), ["A"])


def test_risk_counts_classes_and_knows_what_it_does_not_know() -> None:
    told = risk(["a", "a", "b", "c", "c", "c"], 0.4)
    assert (told.classes, told.smallest_class, told.unique_share) == (3, 1, 1 / 6)
    assert (told.prosecutor_highest, told.prosecutor_mean, told.prosecutor_share_at_risk) == (1, 0.5, 0.5)
    assert told.journalist_highest is None
    assert "population" in told.unknown
    against = risk(["a", "a", "b"], 0.4, ["a"] * 10 + ["b"] * 5)
    assert against.journalist_highest == 0.2
    assert against.marketer == pytest.approx((2 / 10 + 1 / 5) / 3)
