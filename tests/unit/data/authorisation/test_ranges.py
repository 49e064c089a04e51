"""Which bytes a Range header asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.data.authorisation.serving import Span, span_of


@pytest.mark.parametrize(
    ("header", "size", "span"),
    [
        (None, 10, Span(start=0, length=10)),
        ("bytes=0-3", 10, Span(start=0, length=4)),
        ("bytes=8-", 10, Span(start=8, length=2)),
        ("bytes=-3", 10, Span(start=7, length=3)),
        ("bytes=-30", 10, Span(start=0, length=10)),
        ("bytes=0-99", 10, Span(start=0, length=10)),
        ("bytes=10-", 10, None),
        ("bytes=-0", 10, None),
        ("bytes=3-1", 10, Span(start=0, length=10)),
        ("bytes=0-1,4-5", 10, Span(start=0, length=10)),
        ("lines=0-1", 10, Span(start=0, length=10)),
        (None, 0, Span(start=0, length=0)),
    ],
)
def test_ranges_are_read_as_the_standard_says(header: str | None, size: int, span: Span | None) -> None:
    assert span_of(header, size) == span


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 40))
def test_a_range_is_that_slice_of_the_file(first: int, last: int, size: int) -> None:
    data = bytes(range(size))
    span = span_of(f"bytes={first}-{last}", size)
    wanted = data[first : last + 1] if first <= last else data
    assert (b"" if span is None else data[span.start : span.start + span.length]) == wanted
