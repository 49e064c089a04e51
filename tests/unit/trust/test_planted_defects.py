"""Models with one known defect are named in the right dimension; clean ones are not named at all."""

from __future__ import annotations

import pytest

from tests.unit.trust import world

DEFECTS = {
    "stability": {"model": world.brittle, "labels": world.brittle},
    "fairness": {"model": world.truth, "noisy_group": True},
    "calibration": {"model": world.overconfident},
    "explainability": {"model": world.entangled, "labels": world.entangled},
    "privacy": {"model": world.truth, "memorise": True},
}


@pytest.mark.parametrize("dimension", DEFECTS)
def test_a_planted_defect_is_named_in_its_own_dimension(dimension: str) -> None:
    letters = world.make(**DEFECTS[dimension]).letters()
    assert letters[dimension] in "CDE", letters
    assert letters[dimension] == max(letters.values()), letters


@pytest.mark.parametrize("dimension", ["calibration", "explainability", "privacy"])
def test_a_defect_leaves_the_other_dimensions_good(dimension: str) -> None:
    letters = world.make(**DEFECTS[dimension]).letters()
    assert all(letter in "AB" for name, letter in letters.items() if name != dimension), letters


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_clean_model_is_at_least_b_everywhere_with_5000_rows(seed: int) -> None:
    clean = world.make(world.truth, seed=seed)
    assert all(letter in "AB" for letter in clean.letters().values()), clean.letters()
    assert clean.grades.overall in ("A", "B")


def test_the_same_clean_model_is_graded_lower_on_few_rows_and_says_how_many_more_it_takes() -> None:
    few = world.make(world.truth, n=300)
    fairness = few.grades.dimensions["fairness"]
    assert fairness.letter > "B"
    asked = [one.next.more_samples for one in fairness.figures if one.next is not None]
    assert asked
    assert any(more is not None and more > 0 for more in asked)


def test_the_tail_of_membership_inference_is_refused_below_a_thousand_non_members_and_caps_privacy() -> None:
    few = world.make(world.truth, n=600)
    tail = next(one for one in few.grades.dimensions["privacy"].figures if one.measure == "privacy.membership_tail")
    assert tail.measurement.absent is not None
    assert tail.measurement.absent.more_samples == 400
    assert few.grades.dimensions["privacy"].letter >= "B"


def test_the_same_seed_gives_the_same_figures_and_another_seed_only_moves_the_drawn_ones() -> None:
    first, again = world.make(world.truth, n=400), world.make(world.truth, n=400)
    assert [f.measurement for d in first.grades.dimensions.values() for f in d.figures] == [
        f.measurement for d in again.grades.dimensions.values() for f in d.figures
    ]
