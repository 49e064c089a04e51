"""Pages of Delta Sharing make up the whole listing, and only a listing's own tokens go on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput
from headwater.data.protocols.delta import wire

names = st.sets(st.text(min_size=1, max_size=8), max_size=30).map(lambda found: [(one, one) for one in sorted(found)])


@given(names, st.integers(1, 7))
def test_pages_make_up_the_whole_in_order(listing: list[tuple[str, str]], most: int) -> None:
    found: list[str] = []
    token = ""
    for _ in range(len(listing) + 1):
        items, token = wire.page(listing, "tables", most=most, token=token)
        assert len(items) <= most
        found += items
        if not token:
            break
    assert found == [name for name, _ in listing]


def test_none_at_all_gives_the_token_to_begin_with() -> None:
    items, token = wire.page([("a", "a"), ("b", "b")], "shares", most=0, token="")
    assert items == []
    assert wire.page([("a", "a"), ("b", "b")], "shares", most=5, token=token) == (["a", "b"], "")


@given(st.text(max_size=40))
def test_a_token_that_nobody_gave_out_is_refused(token: str) -> None:
    if token:
        with pytest.raises(BadInput, match="no page token"):
            wire.page([("a", "a")], "shares", most=1, token=token)


def test_a_token_of_another_listing_is_refused() -> None:
    _, token = wire.page([("a", "a"), ("b", "b")], "shares", most=1, token="")
    with pytest.raises(BadInput, match="no page token of this listing"):
        wire.page([("a", "a"), ("b", "b")], "tables of open", most=1, token=token)


@pytest.mark.parametrize(
    ("header", "delta"),
    [
        ("", False),
        ("responseformat=delta", True),
        ("responseformat=delta;readerfeatures=deletionvectors", True),
        ("ResponseFormat=delta,parquet", False),
        ("responseformat=parquet", False),
        (";;=;" * 1000, False),
    ],
)
def test_the_delta_format_is_for_readers_that_take_no_other(header: str, delta: bool) -> None:
    assert wire.wants_delta(header) is delta
