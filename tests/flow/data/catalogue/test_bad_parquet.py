"""Parquet files that are cut short, altered, or hold what a table cannot: refused by name, with nothing left behind."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.core.errors import BadInput, HeadwaterError, LimitExceeded, NotFound
from headwater.core.platform import Platform
from headwater.data.catalogue import sets
from headwater.data.catalogue.tabulate import tabulate
from tests.flow.data.conftest import Publish


def parquet(table: pa.Table, **more: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **more)
    return buffer.getvalue()


GOOD = parquet(pa.table({"n": list(range(1000)), "s": [f"row {n}" for n in range(1000)]}), compression="none")


def test_a_good_file_is_kept_as_it_is(publish: Publish, site: Platform) -> None:
    version = publish(GOOD, file="t.parquet")
    assert (version.rows, [one.name for one in version.table]) == (1000, ["t.parquet"])
    assert site.store.read(version.table[0].digest) == GOOD


@pytest.mark.parametrize(
    "data",
    [
        GOOD[: len(GOOD) // 2],
        GOOD[:100],
        GOOD[:-8] + (10**6).to_bytes(4, "little") + b"PAR1",
        GOOD[:200] + bytes(len(GOOD) // 2) + GOOD[200 + len(GOOD) // 2 :],
    ],
    ids=["cut in half", "only a head", "a footer that lies about its size", "pages overwritten with zeros"],
)
def test_a_damaged_file_is_refused_and_leaves_nothing(site: Platform, publish: Publish, data: bytes) -> None:
    with pytest.raises(BadInput, match="t.parquet"):
        publish(data, file="t.parquet")
    with site.db.read() as connection, pytest.raises(NotFound):
        sets.find(connection, "bus-stops")


def test_a_footer_that_announces_other_row_counts_is_found_out(publish: Publish) -> None:
    one, two = (parquet(pa.table({"n": list(range(count))}), compression="none") for count in (64, 65))
    assert publish(one, file="t.parquet", name="honest").rows == 64
    with pytest.raises(HeadwaterError):
        publish(one[: -len(two[-400:])] + two[-400:], file="t.parquet", name="lying")


def test_a_text_that_is_repeated_without_end_is_counted_as_often_as_it_stands_there(publish: Publish, tmp_path: Path) -> None:
    wide = pa.table({"s": pa.array(["x" * 100_000] * 200).dictionary_encode()})
    data = parquet(wide)
    assert len(data) < 200_000
    assert publish(data, file="t.parquet").rows == 200
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "t.parquet").write_bytes(data)
    with pytest.raises(LimitExceeded, match="more than 19 MiB unpacked"):
        tabulate(folder, (), None, largest_mib=1)


def test_columns_that_a_table_cannot_hold_are_named_and_the_way_out_is_told(publish: Publish) -> None:
    nested = parquet(pa.table({"n": [1], "tags": [["a", "b"]]}))
    with pytest.raises(BadInput, match="The column 'tags' holds list.*table: none"):
        publish(nested, file="t.parquet")
    version = publish(nested, file="t.parquet", table="none")
    assert (version.rows, version.table, version.delta) == (None, (), None)
    assert version.quality["completeness"]["value"] is None
