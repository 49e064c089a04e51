"""What is worth having: never what another beats, always something where anything passes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.framework.compression.pareto import Point, beats, choose, front


def point(size: int, latency: int, metric: int, why_not: str) -> Point:
    return Point(
        engine="e", setting="s", size_bytes=size, latency_ms=latency, before_ms=9.0, metric=metric, low=metric, high=metric, why_not=why_not
    )


points = st.lists(
    st.builds(point, st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.sampled_from(["", "", "below"])), max_size=12
)


@given(points)
def test_the_front_is_what_no_passing_candidate_beats(told: list[Point]) -> None:
    passing = [one for one in told if not one.why_not]
    kept = front(told)
    assert all(not one.why_not for one in kept)
    assert all(not any(beats(other, one) for other in passing) for one in kept)
    assert all(one in kept or any(beats(other, one) for other in kept) for one in passing)


@given(points)
def test_the_chosen_is_the_least_of_all_that_pass_and_none_only_where_none_does(told: list[Point]) -> None:
    passing = [one for one in told if not one.why_not]
    for aim, size in (("size", lambda one: one.size_bytes), ("latency", lambda one: one.latency_ms)):
        best = choose(told, aim)  # type: ignore[arg-type]
        assert (best is None) == (not passing)
        assert best is None or size(best) == min(map(size, passing))
