"""Letters follow the pessimistic end; few samples and missing figures never make them better."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput, NotFound
from headwater.trust.dimensions import measures
from headwater.trust.grade import grade, graded, letter_of
from headwater.trust.measurement import Absent, Measurement, Text
from headwater.trust.policy import PASSING, Letter, Line, Policy, load, policies, read
from headwater.trust.stats import Interval

POLICY = load("headwater-1")
LINES = [line for dimension in POLICY.dimensions.values() for line in dimension.lines]
MISSING = Absent(code="too_few_rows", reason=Text(en="few", zh="少"), more_samples=5)


def figure(low: float, high: float, *, smallest: int = 5000, case: str = "") -> Measurement:
    interval = Interval(low=low, high=high, level=0.95, method="given")
    return Measurement(case=case, value=(low + high) / 2, interval=interval, n=5000, smallest=smallest)


def best(line: Line) -> Measurement:
    case = line.case or ""
    edge = line.limits.A
    return figure(edge - 0.001, edge, case=case) if line.better == "lower" else figure(edge, edge + 0.001, case=case)


def all_best() -> dict[str, tuple[Measurement, ...]]:
    return {line.measure: (best(line),) for line in LINES}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.measure)
@given(a=st.floats(0, 1), b=st.floats(0, 1))
def test_a_worse_bound_never_earns_a_better_letter(line: Line, a: float, b: float) -> None:
    good, bad = (min(a, b), max(a, b)) if line.better == "lower" else (max(a, b), min(a, b))
    assert letter_of(good, line) <= letter_of(bad, line)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.measure)
def test_a_bound_on_the_limit_earns_the_letter_and_beyond_d_is_e(line: Line) -> None:
    assert [letter_of(line.limits.of(letter), line) for letter in (Letter.A, Letter.B, Letter.C, Letter.D)] == list("ABCD")
    assert letter_of(line.limits.D + (1e-6 if line.better == "lower" else -1e-6), line) is Letter.E


@given(low=st.floats(0, 0.5), width=st.floats(0, 0.5), more=st.floats(0, 0.5))
def test_a_wider_interval_never_earns_a_better_letter(low: float, width: float, more: float) -> None:
    for line in LINES:
        narrow, wide = graded(line, figure(low, low + width)), graded(line, figure(low - more, low + width + more))
        assert narrow.letter is not None
        assert wide.letter is not None
        assert narrow.letter <= wide.letter


@given(smallest=st.integers(10, 300), fewer=st.integers(0, 300))
def test_fewer_rows_in_the_smallest_cell_never_earn_a_better_letter(smallest: int, fewer: int) -> None:
    line = POLICY.dimensions["fairness"].lines[0]
    many = graded(line, figure(0, 0.01, smallest=smallest), POLICY.caps).letter
    few = graded(line, figure(0, 0.01, smallest=max(0, smallest - fewer)), POLICY.caps).letter
    assert many is not None
    assert few is not None
    assert many <= few


@pytest.mark.parametrize(("smallest", "letter", "more"), [(29, "C", 1), (30, "B", 70), (99, "B", 1), (100, "A", None)])
def test_a_cap_says_how_many_more_rows_the_smallest_cell_needs(smallest: int, letter: str, more: int | None) -> None:
    found = graded(POLICY.dimensions["fairness"].lines[0], figure(0, 0.01, smallest=smallest), POLICY.caps)
    assert found.letter == letter
    assert (found.next.more_samples if found.next else None) == more


def test_the_letter_that_the_data_do_not_exclude_is_told_beside_the_one_that_is_shown() -> None:
    found = graded(POLICY.dimensions["fairness"].lines[0], figure(0, 0.4))
    assert (found.letter, found.possible) == ("E", "A")


def test_the_whole_is_the_worst_dimension_and_a_dimension_its_worst_line() -> None:
    assert grade(all_best(), POLICY).overall == "A"
    found = grade(all_best() | {"privacy.membership_auc": (figure(0.5, 0.58),)}, POLICY)
    assert found.dimensions["privacy"].letter == "C"
    assert found.overall == "C"


def test_a_missing_figure_makes_its_dimension_not_measurable_and_leaves_the_rest_graded() -> None:
    missing = Measurement(n=5, smallest=5, absent=MISSING)
    found = grade(all_best() | {"calibration.expected_error": (missing,)}, POLICY)
    assert found.dimensions["calibration"].letter == "N"
    assert found.overall == "A"


def test_a_missing_figure_cannot_hide_a_failed_one() -> None:
    missing = Measurement(case="g", n=5, smallest=5, absent=MISSING)
    found = grade(all_best() | {"fairness.equalized_odds": (missing,), "fairness.worst_group": (figure(0.3, 0.4),)}, POLICY)
    assert found.dimensions["fairness"].letter == "E"


def test_a_missing_tail_caps_privacy() -> None:
    missing = Measurement(n=5, smallest=5, absent=MISSING)
    assert grade(all_best() | {"privacy.membership_tail": (missing,)}, POLICY).dimensions["privacy"].letter == "B"


def test_declaring_every_attribute_not_gradable_makes_fairness_not_measurable() -> None:
    declared = Measurement(case="g", n=5, smallest=5, absent=MISSING, gradable=False)
    found = grade(all_best() | {"fairness.equalized_odds": (declared,), "fairness.worst_group": (declared,)}, POLICY)
    assert found.dimensions["fairness"].letter == "N"
    assert found.dimensions["fairness"].unmet == ("fairness.equalized_odds", "fairness.worst_group")


def test_data_without_any_sensitive_attribute_have_no_fairness_grade() -> None:
    found = grade(all_best() | {"fairness.equalized_odds": (), "fairness.worst_group": ()}, POLICY)
    assert found.dimensions["fairness"].letter == "N"


def test_figures_that_the_policy_does_not_grade_are_reported_and_change_nothing() -> None:
    found = grade(all_best() | {"stability.other": (figure(0.9, 1.0),)}, POLICY)
    assert found.overall == "A"
    assert "stability.other" in [one.measure for one in found.dimensions["stability"].figures]


def test_a_policy_that_grades_an_unknown_measure_is_refused() -> None:
    taken = {name: values for name, values in all_best().items() if name != "stability.noise"}
    with pytest.raises(BadInput, match=r"grades 'stability\.noise', which no measure gives"):
        grade(taken, POLICY)


def test_a_figure_needs_an_interval_or_a_reason() -> None:
    with pytest.raises(ValueError, match="needs a value and an interval"):
        Measurement(value=0.5, n=3, smallest=3)
    with pytest.raises(ValueError, match="needs a value and an interval"):
        dataclasses.replace(figure(0, 1), absent=MISSING)


@pytest.mark.parametrize("name", policies())
def test_every_shipped_policy_grades_only_measures_that_exist_and_names_its_sources(name: str) -> None:
    policy = load(name)
    assert policy.id == name
    assert {line.measure for dimension in policy.dimensions.values() for line in dimension.lines} <= set(measures())
    assert set(policy.use_classes) == {"U0", "U1", "U2", "U3", "U4"}


def shipped() -> dict[str, object]:
    return POLICY.model_dump(mode="json", by_alias=True)


def test_a_policys_digest_follows_its_content_and_not_its_layout() -> None:
    told = shipped()
    again = read(yaml.safe_dump(told, sort_keys=True).encode(), where="copy")
    assert again.digest == POLICY.digest
    told["smallest_cell"]["value"] = 11  # type: ignore[index]
    assert Policy.model_validate(told).digest != POLICY.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told["dimensions"]["stability"]["lines"][0]["limits"].update(A=0.5), "must get larger from A to D"),
        (lambda told: told["dimensions"]["stability"]["lines"][0].pop("source"), "source: Field required"),
        (lambda told: told["dimensions"]["stability"]["lines"][0].update(measure="privacy.noise"), "stands under the dimension stability"),
        (lambda told: told.update(unknown=1), "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_place(change, message: str) -> None:  # type: ignore[no-untyped-def]
    told = shipped()
    change(told)
    with pytest.raises(BadInput, match=message):
        read(yaml.safe_dump(told).encode(), where="policy.yaml")


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b"- a", b""])
def test_what_is_not_a_policy_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="policy.yaml"):
        read(data, where="policy.yaml")


def test_an_unknown_policy_is_not_found_whatever_its_name() -> None:
    for name in ("headwater-9", "../../etc/passwd", ""):
        with pytest.raises(NotFound, match="headwater-1"):
            load(name)


def test_the_documented_limits_are_the_policys() -> None:
    """docs/trust.md prints the table of the shipped policy."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "trust.md").read_text(encoding="utf-8")
    rows = {cells[1].split("`")[1]: cells[2:6] for line in page.splitlines() if len(cells := line.split("|")) == 7 and "`" in cells[1]}
    for line in LINES:
        assert [float(cell) for cell in rows[line.measure]] == [line.limits.of(letter) for letter in PASSING], line.measure
    assert all(f"`{name}`" in page for name in measures())
