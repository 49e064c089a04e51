from __future__ import annotations

import csv
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.core.errors import Conflict
from headwater.data.cleaning import chunks, recipe, run
from headwater.data.cleaning.results import lines_of
from headwater.data.cleaning.run import Order
from tests.flow.data.cleaning.documents import planted, prose, written

RECIPE = """\
schema: headwater.cleaning/1
name: test
stages:
  - normalise
  - remove
  - length: {least: 20}
  - gopher_repetition
  - exact_duplicates
  - near_duplicates: {jaccard: 0.8}
"""


def cleaned(out: Path, *inputs: Path, text: str = RECIPE, **more: Any) -> dict[str, Any]:
    return run.clean(Order(inputs=inputs, out=out, recipe=recipe.read(text, "test.yaml"), **more))


def kept(out: Path) -> list[dict[str, Any]]:
    return list(lines_of(out / "kept.jsonl.zst"))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks from a small input."""
    monkeypatch.setattr(chunks, "CHUNK", 20_000)


def test_every_document_is_kept_or_removed_with_its_reason(tmp_path: Path) -> None:
    documents = planted(300)
    told = cleaned(tmp_path / "out", written(tmp_path / "in.jsonl", documents))
    removed = list(lines_of(tmp_path / "out" / "removed.jsonl.zst"))
    assert {one["id"] for one in kept(tmp_path / "out")} | {one["document"]["id"] for one in removed} == {one["id"] for one in documents}
    assert told["read"] == told["kept"] + told["removed"] == 300
    short = [one for one in removed if one["removed"]["code"] == "length.short"]
    assert {one["document"]["text"] for one in short} == {"太短"}
    assert all(one["removed"]["figure"] == 2 and one["removed"]["limit"] == 20 for one in short)
    assert {row["code"] for row in told["reasons"]} == {"length.short", "exact_duplicates.same", "near_duplicates.near"}
    assert told["funnel"][-1]["out"] == told["kept"]


def test_a_near_duplicate_names_the_document_that_stays_and_how_alike_they_are(tmp_path: Path) -> None:
    cleaned(tmp_path / "out", written(tmp_path / "in.jsonl", planted(60)))
    stay = {one["id"]: one["text"] for one in kept(tmp_path / "out")}
    near = [one for one in lines_of(tmp_path / "out" / "removed.jsonl.zst") if one["removed"]["code"] == "near_duplicates.near"]
    assert near
    for one in near:
        assert one["removed"]["like"] in stay
        assert 0.8 <= one["removed"]["figure"] < 1
        assert len(stay[one["removed"]["like"]]) >= len(one["document"]["text"])


def test_documents_that_no_stage_touches_keep_every_byte(tmp_path: Path) -> None:
    line = '{"text":"' + prose(random.Random(1)).replace("\n", "\\n") + '", "id":7,"more":[1,{"a":null}],"x":1e3}'
    (tmp_path / "in.jsonl").write_text(line + "\n", encoding="utf-8")
    cleaned(tmp_path / "out", tmp_path / "in.jsonl")
    with pa.CompressedInputStream(pa.OSFile(str(tmp_path / "out" / "kept.jsonl.zst")), "zstd") as stream:
        assert stream.read().decode() == line + "\n"


def test_the_result_is_the_same_to_the_byte_whatever_the_number_of_workers(tmp_path: Path, small_chunks: None) -> None:
    file = written(tmp_path / "in.jsonl", planted(400))
    reports = [cleaned(tmp_path / f"out{workers}", file, workers=workers) for workers in (1, 3)]
    assert reports[0] == reports[1]
    for name in ("kept.jsonl.zst", "removed.jsonl.zst", "report.json", "report.html"):
        assert (tmp_path / "out1" / name).read_bytes() == (tmp_path / "out3" / name).read_bytes()


def test_the_same_documents_stay_whatever_the_order_of_the_input(tmp_path: Path, small_chunks: None) -> None:
    documents = planted(400)
    cleaned(tmp_path / "a", written(tmp_path / "a.jsonl", documents))
    random.Random(3).shuffle(documents)
    cleaned(tmp_path / "b", written(tmp_path / "b.jsonl", documents))
    assert {one["id"] for one in kept(tmp_path / "a")} == {one["id"] for one in kept(tmp_path / "b")}


def test_a_run_that_was_killed_goes_on_where_it_stopped_and_ends_as_if_it_had_not(tmp_path: Path) -> None:
    documents = planted(24_000)
    file = written(tmp_path / "in.jsonl", documents)
    (tmp_path / "r.yaml").write_text(RECIPE, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "headwater",
        "data",
        "clean",
        str(file),
        "--recipe",
        str(tmp_path / "r.yaml"),
        "--workers",
        "1",
        "--out",
    ]
    parts = tmp_path / "out.work" / "parts"
    process = subprocess.Popen([*command, str(tmp_path / "out")], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (done := sorted(parts.glob("*.json"))):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert done
    assert not (tmp_path / "out").exists()
    before = {one.name: one.stat().st_mtime_ns for one in sorted(parts.glob("*.json"))}
    (parts / "99999999.arrow.part").write_bytes(b"half")
    order = Order(inputs=(file,), out=tmp_path / "out", recipe=recipe.load(str(tmp_path / "r.yaml")))
    seen: dict[str, int] = {}

    def look(done: float, total: float, note: str) -> None:
        if note == "comparing" and not seen:
            seen.update({one.name: one.stat().st_mtime_ns for one in parts.glob("*.json")})

    told = run.clean(order, look)
    assert {name: seen[name] for name in before} == before
    assert told == cleaned(tmp_path / "fresh", file)
    assert (tmp_path / "out" / "kept.jsonl.zst").read_bytes() == (tmp_path / "fresh" / "kept.jsonl.zst").read_bytes()
    assert not (tmp_path / "out.work").exists()


def test_what_another_recipe_left_is_not_taken_over(tmp_path: Path) -> None:
    file = written(tmp_path / "in.jsonl", planted(20))
    (tmp_path / "out.work" / "parts").mkdir(parents=True)
    (tmp_path / "out.work" / "order.json").write_text("{}", encoding="utf-8")
    with pytest.raises(Conflict, match="another recipe, input or version"):
        cleaned(tmp_path / "out", file)


def test_a_result_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(Conflict, match="exists already"):
        cleaned(tmp_path / "out", written(tmp_path / "in.jsonl", planted(5)))


def test_all_forms_of_input_give_the_same_documents(tmp_path: Path) -> None:
    documents = [{"id": one["id"], "text": one["text"]} for one in planted(80) if one["text"] != "太短"]
    file = written(tmp_path / "plain.jsonl", documents)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
    (tmp_path / "packed.jsonl.zst").write_bytes(pa.Codec("zstd").compress(file.read_bytes(), asbytes=True))
    (tmp_path / "nameless").write_bytes((tmp_path / "packed.jsonl.zst").read_bytes())
    with (tmp_path / "table.csv").open("w", encoding="gb18030", newline="") as table:
        writer = csv.DictWriter(table, ["id", "text"])
        writer.writeheader()
        writer.writerows(documents)
    pq.write_table(pa.Table.from_pylist(documents), tmp_path / "table.parquet", row_group_size=17)
    (tmp_path / "texts").mkdir()
    for one in documents:
        (tmp_path / "texts" / f"{one['id']}.txt").write_text(one["text"], encoding="utf-8")
    names = ["plain.jsonl", "packed.jsonl.gz", "packed.jsonl.zst", "nameless", "table.csv", "table.parquet", "texts"]
    found = []
    for name in names:
        cleaned(tmp_path / f"out-{name}", tmp_path / name)
        found.append({one["text"] for one in kept(tmp_path / f"out-{name}")})
    assert all(texts == found[0] for texts in found)
    assert found[0]


def test_a_parquet_result_holds_the_same_records(tmp_path: Path, small_chunks: None) -> None:
    file = written(tmp_path / "in.jsonl", planted(200))
    cleaned(tmp_path / "lines", file)
    cleaned(tmp_path / "table", file, form="parquet")
    assert pq.read_table(tmp_path / "table" / "kept.parquet").to_pylist() == kept(tmp_path / "lines")


def test_several_fields_are_edited_each_and_judged_together(tmp_path: Path) -> None:
    pairs = [
        {"instruction": "请解释什么是公共数据授权运营？", "input": 3, "output": "指由政府授权\u3000机构加工公共数据并提供服务。"},
        {"instruction": "请解释什么是公共数据授权运营？", "input": 4, "output": "   "},
        {"instruction": "重复这句话：你好，世界，今天天气不错", "output": "重复这句话：你好，世界，今天天气不错"},
    ]
    told = run.clean(Order(inputs=(written(tmp_path / "in.jsonl", pairs),), out=tmp_path / "out", recipe=recipe.shipped("instructions")))
    assert kept(tmp_path / "out") == [pairs[0] | {"output": "指由政府授权 机构加工公共数据并提供服务。"}]
    assert {row["code"] for row in told["reasons"]} == {"required.empty_fields", "distinct_fields.same"}


def test_rows_of_a_table_are_cleaned_cell_by_cell_and_formulas_cannot_run(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "编号,名称,值\n1,ＡＢＣ　公司,-3.5\n1,ABC 公司,-3.5\n2,=HYPERLINK(1),@x\n3,,\n,,5\n", encoding="utf-8-sig", newline=""
    )
    told = run.clean(Order(inputs=(tmp_path / "t.csv",), out=tmp_path / "out", recipe=recipe.shipped("tables")))
    assert kept(tmp_path / "out") == [
        {"编号": "1", "名称": "ABC 公司", "值": "-3.5"},
        {"编号": "2", "名称": "'=HYPERLINK(1)", "值": "'@x"},
    ]
    assert {row["code"]: row["documents"] for row in told["reasons"]} == {"exact_duplicates.same": 1, "required.empty_fields": 2}


def test_the_source_is_untouched(tmp_path: Path) -> None:
    file = written(tmp_path / "in.jsonl", planted(50))
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    os.chmod(file, 0o444)
    cleaned(tmp_path / "out", file)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_the_command_prints_the_funnel_as_json(tmp_path: Path) -> None:
    file = written(tmp_path / "in.jsonl", planted(50))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "headwater",
            "data",
            "clean",
            str(file),
            "-o",
            str(tmp_path / "out"),
            "-r",
            "plain",
            "--workers",
            "1",
            "--json",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [row["stage"] for row in json.loads(done.stdout)] == ["read", "normalise", "length", "exact_duplicates"]
