"""Signed addresses: they open what they say until they expire, and nothing when a single bit differs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import HeadwaterError
from headwater.data.authorisation.signed_urls import BadAddress, FileAccess, check, sign, url_key

KEY = bytes(range(32))
NOW = datetime(2026, 6, 1, tzinfo=UTC)
ACCESS = FileAccess(dataset="d", version=3, file="数据/part 1.parquet", grantee="city/lab", grant="sha256:" + "a" * 64)


def test_an_address_opens_what_it_was_signed_for_until_it_expires() -> None:
    token = sign(KEY, ACCESS, NOW + timedelta(hours=1))
    assert check(KEY, token, NOW) == ACCESS
    assert check(KEY, token, NOW + timedelta(hours=1) - timedelta(microseconds=1)) == ACCESS
    with pytest.raises(BadAddress, match="expired on 2026-06-01T01:00:00"):
        check(KEY, token, NOW + timedelta(hours=1))


@given(st.data())
def test_no_altered_address_opens_anything_else(data: st.DataObject) -> None:
    token = sign(KEY, ACCESS, NOW + timedelta(hours=1))
    place = data.draw(st.integers(0, len(token) - 1))
    altered = token[:place] + data.draw(st.sampled_from("ABCxyz019-_.")) + token[place + 1 :]
    try:
        assert check(KEY, altered, NOW) == ACCESS  # the last character of a part holds bits that say nothing
    except HeadwaterError:
        pass


def test_another_key_or_no_token_at_all_opens_nothing() -> None:
    with pytest.raises(BadAddress, match="does not fit"):
        check(bytes(32), sign(KEY, ACCESS, NOW + timedelta(hours=1)), NOW)
    for nonsense in ("", ".", "a.b.c", "ä.ö", "x" * 5000):
        with pytest.raises(HeadwaterError):
            check(KEY, nonsense, NOW)


def test_the_key_is_made_once_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    key = url_key(tmp_path)
    assert url_key(tmp_path) == key
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
