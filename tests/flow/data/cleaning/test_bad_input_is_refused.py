from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.core.errors import BadFile, BadInput, HeadwaterError, LimitExceeded, Unavailable
from headwater.data.cleaning import recipe, run
from headwater.data.cleaning.results import lines_of
from headwater.data.cleaning.run import Order
from headwater.data.cleaning.sources import Limits
from tests.flow.data.cleaning.documents import planted, written


def attempt(folder: Path, source: Path, preset: str = "plain", text: str | None = None, **limits: int) -> dict[str, Any]:
    """Clean a file and, where that is refused, see that nothing of a result is there and the source is as it was."""
    before = source.read_bytes() if source.is_file() else None
    chosen = recipe.read(text, "r.yaml") if text else recipe.shipped(preset)
    try:
        return run.clean(Order(inputs=(source,), out=folder / "out", recipe=chosen, limits=Limits(**limits)))
    except HeadwaterError:
        assert not (folder / "out").exists()
        assert not (folder / "out.work").exists()
        assert before is None or source.read_bytes() == before
        raise


def test_broken_lines_are_named_by_line_and_column_all_at_once(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}',
        b'{"text": "cut',
        b"",
        b'["text"]',
        b'{"text": 5}',
        b'{"words": "x"}',
        b'{"text": NaN}',
        b'{"text": "\\ud800"}',
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    with pytest.raises(BadFile) as refused:
        attempt(tmp_path, tmp_path / "in.jsonl")
    said = str(refused.value)
    assert "in.jsonl:2, column 10: This is not JSON: Unterminated string" in said
    assert "in.jsonl:4: The line is JSON, but not an object." in said
    assert "in.jsonl:5, column 'text': The column is int, not text." in said
    assert "in.jsonl:6, column 'text': The column is missing." in said
    assert "in.jsonl:7: NaN is not JSON." in said
    assert "in.jsonl:8, column 'text': Character 0 is half of a surrogate pair." in said


def test_a_recipe_may_set_broken_lines_aside_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes('{"text": "好"}\n{"text": \n{"text": "再"}\n'.encode())
    text = "schema: headwater.cleaning/1\nname: lenient\nbroken: set_aside\nstages: [exact_duplicates]\n"
    told = attempt(tmp_path, tmp_path / "in.jsonl", text=text)
    (one,) = lines_of(tmp_path / "out" / "removed.jsonl.zst")
    assert one["removed"]["where"] == "in.jsonl:2, column 9"
    assert told["kept"] == 2
    assert told["funnel"][0] == {"stage": "read", "in": 3, "out": 2, "changed": 0}


def test_lines_in_gb18030_among_lines_in_utf8_are_read_and_counted(tmp_path: Path) -> None:
    utf8, other = ('{"text": "数据开放"}\n', '{"text": "授权运营"}\n')
    (tmp_path / "in.jsonl").write_bytes(b"\xef\xbb\xbf" + utf8.encode() + other.encode("gb18030"))
    told = attempt(tmp_path, tmp_path / "in.jsonl")
    assert told["encodings"] == {"gb18030": 1, "utf-8": 1}
    assert [one["text"] for one in lines_of(tmp_path / "out" / "kept.jsonl.zst")] == ["数据开放", "授权运营"]


def test_bytes_of_no_encoding_are_named(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"text": "ok"}\n{"text": "\xff\xff"}\n')
    with pytest.raises(BadFile, match=r"in.jsonl:2: Byte 10 is not UTF-8, and byte 10 is not GB18030"):
        attempt(tmp_path, tmp_path / "in.jsonl")


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv"])
def test_utf16_is_named_as_such(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes('{"text": "数据"}\n'.encode("utf-16"))
    with pytest.raises(BadInput, match="UTF-16"):
        attempt(tmp_path, tmp_path / name)


def test_a_ragged_row_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,text\n1,"two\nlines"\n2,a,b\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"in.csv:4: The row has 3 cells, the header has 2"):
        attempt(tmp_path, tmp_path / "in.csv")


def test_a_quote_that_never_closes_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,text\n1,a\n2,"b\n3,c\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"in.csv:3: This is not valid CSV"):
        attempt(tmp_path, tmp_path / "in.csv")


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,text\na,b\n", encoding="utf-8")
    with pytest.raises(BadInput, match="'text' stands twice"):
        attempt(tmp_path, tmp_path / "in.csv")


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_what_unpacks_to_far_more_than_its_file_is_refused_early(tmp_path: Path, packing: str) -> None:
    block = b'{"text": "' + b"a" * (1 << 20) + b'"}\n'
    if packing == "gz":
        packer = zlib.compressobj(9, wbits=31)
        data = b"".join(packer.compress(block) for _ in range(200)) + packer.flush()
    else:
        data = pa.Codec("zstd").compress(block * 200, asbytes=True)
    (tmp_path / f"bomb.jsonl.{packing}").write_bytes(data)
    with pytest.raises(LimitExceeded, match=r"MiB came out of 0\.\d+ MiB; the limit is 200 times"):
        attempt(tmp_path, tmp_path / f"bomb.jsonl.{packing}")


def test_more_input_than_allowed_is_refused_whatever_its_packing(tmp_path: Path) -> None:
    file = written(tmp_path / "in.jsonl", [{"id": str(n), "text": os.urandom(400_000).hex()} for n in range(4)])
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(file.read_bytes(), 1))
    for source in (file, tmp_path / "in.jsonl.gz"):
        with pytest.raises(LimitExceeded, match="more than 2 MiB, which is the limit"):
            attempt(tmp_path, source, input_mib=2)


def test_a_line_longer_than_a_document_may_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"text": "short"}\n{"text": "' + b"x" * (9 << 20))
    with pytest.raises(LimitExceeded, match=r"in.jsonl:2: This line has more than 1 MiB"):
        attempt(tmp_path, tmp_path / "in.jsonl", document_mib=1)


@pytest.mark.parametrize("name", ["in.jsonl.gz", "in.jsonl.zst", "in.parquet"])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / "whole.jsonl", planted(200))
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(planted(200)), tmp_path / name)
        data = (tmp_path / name).read_bytes()
    elif name.endswith("gz"):
        data = gzip.compress(file.read_bytes())
    else:
        data = bytes(pa.Codec("zstd").compress(file.read_bytes(), asbytes=True))
    (tmp_path / name).write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(BadInput, match="copy it again"):
        attempt(tmp_path, tmp_path / name)


def test_hostile_file_names_are_read_and_shown_harmless(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("<script>alert(1)<b>.txt", "line\nbreak\x1b[31m.txt", "..rel.txt", os.fsdecode(b"\xff.txt")):
        (folder / name).write_text(f"文件 {name!r} 的内容", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("not to be read", encoding="utf-8")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    text = "schema: headwater.cleaning/1\nname: none\nstages: [{length: {least: 1000}}]\n"
    told = attempt(tmp_path, folder, text=text)
    assert told["read"] == 4
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    names = [one["document"]["id"] for one in lines_of(tmp_path / "out" / "removed.jsonl.zst")]
    assert "line\\x0abreak\\x1b[31m.txt" in names
    assert all(name.isprintable() for name in names)


def test_a_full_disk_is_said_and_leaves_no_result(tmp_path: Path) -> None:
    file = written(tmp_path / "in.jsonl", planted(2000))

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = subprocess.run(
        [sys.executable, "-m", "headwater", "data", "clean", str(file), "-o", str(tmp_path / "out"), "-r", "plain", "--workers", "1"],
        capture_output=True,
        text=True,
        preexec_fn=little_room,
    )
    assert done.returncode == Unavailable.exit_code
    assert "The disk is full" in done.stderr
    assert "it goes on where it stopped" in done.stderr
    assert not (tmp_path / "out").exists()
    told = run.clean(Order(inputs=(file,), out=tmp_path / "out", recipe=recipe.shipped("plain")))
    assert told["read"] == 2000


def test_rows_with_other_columns_than_the_first_are_named(tmp_path: Path) -> None:
    rows = [{"a": "1", "b": "2"}, {"a": "1", "c": "2"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(BadFile, match="row 1: The columns are a, c; before they were a, b"):
        attempt(tmp_path, tmp_path / "in.jsonl", preset="tables")


def test_an_empty_input_gives_an_empty_result(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b"")
    told = attempt(tmp_path, tmp_path / "in.jsonl", preset="pretraining")
    assert (told["read"], told["kept"]) == (0, 0)
    assert list(lines_of(tmp_path / "out" / "kept.jsonl.zst")) == []
