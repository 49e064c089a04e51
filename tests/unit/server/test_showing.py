"""How the console writes figures, times, digests and texts for people, and what it makes of a form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.tabular import Column, Signature
from headwater.core.web import form_token, safe_path
from headwater.models.pages import row_of
from headwater.server import language
from headwater.server.console import number, short, since, size


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "–"), (0.4212, "0.42 s"), (12.4, "12 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")]
)
def test_durations_are_read_at_a_glance(seconds: float | None, shown: str) -> None:
    assert since(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (1000.0, "1,000"), (0.123456, "0.1235"), (1e-9, "1e-09"), (3, "3"), (-0.5, "-0.5")]
)
def test_figures_have_the_digits_that_a_person_reads(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_sizes_are_in_binary_units() -> None:
    assert [size(one) for one in (None, 0, 1023, 1024, 5 * 2**30, 2**50)] == ["–", "0 B", "1023 B", "1.0 KiB", "5.0 GiB", "1024.0 TiB"]


def test_digests_are_cut_and_names_that_people_gave_are_not() -> None:
    assert ">aaaaaaaaaaaa…<" in short("sha256:" + "a" * 64)
    assert short("credit-1f2e3d4c.train") == "credit-1f2e3d4c.train"
    assert short("<script>") == "&lt;script&gt;"


@given(st.text())
def test_a_path_to_go_on_to_is_always_one_of_this_site(path: str) -> None:
    found = safe_path(path)
    assert found.startswith("/")
    assert not found.startswith(("//", "/\\"))
    assert found in (path, "/")


@given(st.text(max_size=300))
def test_any_accepted_languages_give_one_that_we_have(accepts: str) -> None:
    assert language.choose(None, None, accepts) in language.LANGUAGES


def test_form_tokens_differ_by_session_and_do_not_tell_it() -> None:
    assert form_token("a") != form_token("b")
    assert "secret" not in form_token("secret")


SIGNATURE = Signature(
    columns=(
        Column(name="age", type="integer", minimum=18, maximum=99),
        Column(name="sum", type="number"),
        Column(name="purpose", type="category", values=(0, 1, 2)),
        Column(name="housing", type="category", values=("rent", "own")),
    ),
    target="bad",
    classes=(0, 1),
    positive=1,
)


def test_a_form_becomes_a_row_of_the_models_own_types() -> None:
    row = row_of(SIGNATURE, {"age": "40", "sum": "12.5", "purpose": "2", "housing": "own", "stray": "1"})
    assert row == {"age": 40, "sum": 12.5, "purpose": 2, "housing": "own"}


@given(st.dictionaries(st.sampled_from(["age", "sum", "purpose", "housing", "stray"]), st.text()))
def test_any_form_becomes_a_row_or_is_left_for_the_model_to_refuse(given_: dict[str, str]) -> None:
    assert set(row_of(SIGNATURE, given_)) <= set(SIGNATURE.names)
