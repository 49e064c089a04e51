"""Changes between versions: replaying them gives each version's content."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput, NotFound
from headwater.data.catalogue.sets import Column, File, Version
from headwater.data.protocols.delta.changes import Span, changes, chosen

AT = datetime(2026, 1, 1, tzinfo=UTC)


def version(number: int, contents: list[str], column: str = "n") -> Version:
    """Return a version whose table has a file of each content."""
    files = tuple(File(name=f"{place}.parquet", digest=one, media_type="", bytes=1, table=True) for place, one in enumerate(contents))
    return Version(
        dataset="d", number=number, digest="x", columns=(Column(name=column, type="integer", about={}),), rows=1, bytes=1, files=files,
        quality={}, note="", delta=None, statement="", job=None, created_by="p", created_at=AT + timedelta(days=number),
    )  # fmt: skip


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=5), min_size=1, max_size=5), st.data())
def test_replaying_the_changes_from_one_version_gives_the_next(contents: list[list[str]], data: st.DataObject) -> None:
    versions = [version(number, one) for number, one in enumerate(contents, start=1)][::-1]
    first = data.draw(st.integers(1, len(versions)))
    last = data.draw(st.integers(first, len(versions)))
    held = Counter(contents[first - 2]) if first > 1 else Counter()
    for one in changes(versions, chosen(versions, Span(starting_version=first, ending_version=last))):
        held[one.file.digest] += 1 if one.kind == "add" else -1
        assert one.file in one.holder.files
    assert +held == Counter(contents[last - 1])
    assert min(held.values(), default=0) >= 0


def test_a_span_is_by_version_or_time_and_forwards() -> None:
    versions = [version(number, ["a"]) for number in (3, 2, 1)]
    later = chosen(versions, Span(starting_timestamp="2026-01-03T00:00:00Z", ending_timestamp="2026-02-01T00:00:00Z"))
    assert [one.number for one in later] == [2, 3]
    for span in (Span(), Span(starting_version=1, starting_timestamp="2026-01-01"), Span(starting_version=3, ending_version=1)):
        with pytest.raises(BadInput):
            chosen(versions, span)
    with pytest.raises(NotFound):
        chosen(versions, Span(starting_version=9))


def test_changed_columns_are_refused() -> None:
    versions = [version(2, ["b"], column="m"), version(1, ["a"])]
    with pytest.raises(BadInput, match="columns changed in version 2"):
        changes(versions, versions[::-1])
