"""The steps and commands over real files: what they write, what they report, what they refuse."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from headwater.cli import main
from headwater.core.errors import BadInput, HeadwaterError, Refused
from headwater.data.privacy.documents import protect as protect_file
from headwater.data.privacy.steps import anonymise, find_personal, protect
from tests.bench import data_privacy as bench
from tests.conftest import shared
from tests.flow.data import one_step

LINES = [
    {"id": 1, "text": "请联系王芳，电话13800001234。", "note": "13900001234"},
    {"id": 2, "text": "没有个人信息。", "note": ""},
    {"id": 3, "text": "Card 4111 1111 1111 1111, contact: Emily Chen", "note": ""},
]


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in LINES), encoding="utf-8")
    return path


def test_the_report_counts_by_label_rule_and_field_and_holds_no_value(documents: Path, tmp_path: Path) -> None:
    task = one_step.run(find_personal, tmp_path / "run", {}, documents=documents)
    text = task.outputs["report"].read_text(encoding="utf-8")
    report = json.loads(text)
    assert report["labels"] == {"BANK_CARD": 1, "PERSON": 2, "PHONE": 2}
    assert report["fields"] == {"note": {"PHONE": 1}, "text": {"BANK_CARD": 1, "PERSON": 2, "PHONE": 1}}
    assert (report["rows"], report["rows_with_personal_data"]) == (3, 2)
    assert not [value for value in ("王芳", "1380000", "4111", "Emily") if value in text]


def test_protected_lines_keep_their_order_and_other_fields(documents: Path, tmp_path: Path) -> None:
    task = one_step.run(protect, tmp_path / "run", {"fields": ["text"], "actions": {"PHONE": "mask"}}, documents=documents)
    made = [json.loads(line) for line in task.outputs["documents"].read_text(encoding="utf-8").splitlines()]
    assert made[0] == {"id": 1, "text": "请联系[PERSON]，电话138******34。", "note": "13900001234"}
    assert made[1] == LINES[1]
    assert made[2]["text"] == "Card [BANK_CARD], contact: [PERSON]"


def test_pseudonyms_are_the_same_in_every_row_under_one_key(tmp_path: Path) -> None:
    source, key = tmp_path / "t.csv", tmp_path / "key"
    source.write_bytes("name,phone\n申请人：王芳,13800001234\n联系人：王芳,138 0000 1234\n".encode("gb18030"))
    key.write_bytes(b"0123456789abcdef")
    task = one_step.run(protect, tmp_path / "run", {"actions": {"*": "pseudonymise"}}, documents=source, key=key)
    rows = pl.read_csv(task.outputs["documents"], infer_schema=False)
    assert rows["name"][0].split("：")[1] == rows["name"][1].split("：")[1]
    assert rows["phone"][0] == rows["phone"][1].replace(" ", "")
    assert json.loads(task.outputs["report"].read_text())["key"] not in ("", "0123456789abcdef")


def test_a_table_of_parquet_comes_back_as_parquet(tmp_path: Path) -> None:
    source = tmp_path / "t.parquet"
    pl.DataFrame({"text": ["电话13800001234", None], "n": [1, 2]}).write_parquet(source)
    task = one_step.run(protect, tmp_path / "run", {}, documents=source)
    assert pl.read_parquet(task.outputs["documents"]).to_dict(as_series=False) == {"text": ["电话[PHONE]", None], "n": [1, 2]}


def test_a_column_that_is_not_there_or_holds_no_text_is_named(tmp_path: Path) -> None:
    source = tmp_path / "t.parquet"
    pl.DataFrame({"text": ["a"], "n": [1]}).write_parquet(source)
    for name, what in (("n", "The column 'n' holds no text"), ("m", r"There is no column 'm'. Columns: text, n")):
        with pytest.raises(BadInput, match=what):
            protect_file(source, tmp_path / "out", "redact", fields=[name])
    source.write_bytes(source.read_bytes()[:-20])
    with pytest.raises(BadInput, match="cannot be read"):
        protect_file(source, tmp_path / "out", "redact")
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b'{"text": "a"}\n{"text": \n', r"documents.jsonl:2: This is not JSON"),
        (b'{"text": "a"}\n["a"]\n', r"documents.jsonl:2: This is a JSON list, not an object"),
        (b'{"text": "a"}\n{"text": "\xff"}\n', r"documents.jsonl:2: Byte 10 of the line is not UTF-8"),
        (b'{"text": 1}\n', r"documents.jsonl:1: The field 'text' is no text"),
        (b'{"other": "a"}\n', r"documents.jsonl:1: The line has no field 'text'. Fields: other"),
    ],
)
def test_a_broken_line_is_named_and_nothing_is_left_half_written(tmp_path: Path, data: bytes, what: str) -> None:
    source, target = tmp_path / "documents.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(data)
    with pytest.raises(BadInput, match=what):
        protect_file(source, target, "redact", fields=["text"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["documents.jsonl"]
    assert source.read_bytes() == data


def test_lone_surrogates_and_nul_come_through(tmp_path: Path) -> None:
    source, target = tmp_path / "documents.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b'{"text": "\\ud800 \\u0000 13800001234"}\n')
    protect_file(source, target, "redact")
    assert json.loads(target.read_bytes()) == {"text": "\ud800 \0 [PHONE]"}


def test_a_table_with_nul_or_a_ragged_row_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "t.csv"
    for data, what in ((b"a,b\n1,\0\n", "Byte 6 is NUL"), (b"a,b\n1\n", r"t.csv:2: A row has 1 cells, the header has 2")):
        source.write_bytes(data)
        with pytest.raises(BadInput, match=what):
            protect_file(source, tmp_path / "out.csv", "redact")


def test_one_line_of_a_hundred_megabytes_is_gone_through(tmp_path: Path) -> None:
    source = tmp_path / "documents.jsonl"
    line = "字" * 33_000_000
    source.write_bytes(b'{"text": "' + line.encode() + '，电话13800001234"}\n'.encode())
    task = one_step.run(find_personal, tmp_path / "run", {}, documents=source)
    assert json.loads(task.outputs["report"].read_text())["labels"] == {"PHONE": 1}


def test_a_table_is_made_anonymous_with_its_report(tmp_path: Path) -> None:
    declaration = tmp_path / "d.yaml"
    declaration.write_text("schema: headwater.anonymity/1\nk: 5\nquasi_identifiers:\n  age: {intervals: [10]}\n  sex: {}\ndrop: [name]\n")
    table = tmp_path / "t.csv"
    table.write_text("name,age,sex\n" + "".join(f"p{row},{20 + row % 20},{'FM'[row % 2]}\n" for row in range(60)))
    task = one_step.run(anonymise, tmp_path / "run", {}, table=table, declaration=declaration)
    rows = pl.read_csv(task.outputs["table"])
    assert rows.columns == ["age", "sex"]
    assert rows.group_by("age", "sex").len()["len"].min() >= 5
    report = json.loads(task.outputs["report"].read_text())
    assert report["risk_before"]["prosecutor_highest"] > report["risk_after"]["prosecutor_highest"]
    assert report["loss"]["metric"].startswith("general loss metric")
    assert task.metrics["loss"] == report["loss"]["value"]


def test_an_anonymous_parquet_table_keeps_the_types_of_untouched_columns(tmp_path: Path) -> None:
    declaration, table = tmp_path / "d.yaml", tmp_path / "t.parquet"
    declaration.write_text("schema: headwater.anonymity/1\nk: 2\nsuppression: 0.4\nquasi_identifiers:\n  age: {intervals: [10]}\n")
    pl.DataFrame({"age": [21, 22, 95, 23], "income": [1.5, 2.5, 3.5, None]}).write_parquet(table)
    task = one_step.run(anonymise, tmp_path / "run", {}, table=table, declaration=declaration)
    assert pl.read_parquet(task.outputs["table"]).to_dict(as_series=False) == {"age": ["[20, 30)"] * 3, "income": [1.5, 2.5, None]}


def test_an_independent_library_finds_the_bounds_kept_in_adult(tmp_path: Path) -> None:
    if not bench.PYCANON.exists():
        pytest.skip("pycanon is not in build/pycanon (python3 dev.py clients)")
    table, checked = shared("trust/adult.csv"), {}
    for name, bound in {"k": {}, "l": {"l": 2}, "t": {"t": 0.35}}.items():
        told = bench.DECLARATION.read_text(encoding="utf-8").replace("income-per-year: {}", f"income-per-year: {json.dumps(bound)}")
        declaration = tmp_path / f"{name}.yaml"
        declaration.write_text(told, encoding="utf-8")
        task = one_step.run(anonymise, tmp_path / name, {}, table=table, declaration=declaration)
        checked[name] = by_pycanon(task.outputs["table"])
    assert all(one["k"] >= 10 for one in checked.values())
    assert checked["l"]["l"] >= 2
    assert checked["t"]["t"] <= 0.35 + 1e-9


PYCANON = """
import json, sys, pandas
from pycanon import anonymity
table = pandas.read_csv(sys.argv[1], dtype=str, keep_default_na=False)
quasi, sensitive = json.loads(sys.argv[2]), ["income-per-year"]
print(json.dumps({"k": int(anonymity.k_anonymity(table, quasi)), "l": int(anonymity.l_diversity(table, quasi, sensitive)),
                  "t": float(anonymity.t_closeness(table, quasi, sensitive))}))
"""


def by_pycanon(table: Path) -> dict[str, Any]:
    quasi = ["age", "education", "marital-status", "race", "sex", "native-country"]
    named = table.with_suffix(".csv")
    named.write_bytes(table.read_bytes())
    done = subprocess.run([str(bench.PYCANON), "-c", PYCANON, str(named), json.dumps(quasi)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def headwater(*arguments: str, status: int = 0) -> Any:
    """Return what a command prints as JSON, or what it refuses with where `status` is not 0."""
    done = CliRunner().invoke(main.app, [*arguments, "--json"])
    if status == 0:
        assert done.exception is None, done.output
        return json.loads(done.stdout)
    assert isinstance(done.exception, HeadwaterError)
    assert done.exception.exit_code == status
    return str(done.exception)


def test_the_commands_count_protect_and_anonymise(documents: Path, tmp_path: Path) -> None:
    assert headwater("data", "personal", str(documents))["labels"]["PHONE"] == 2
    out = tmp_path / "out.jsonl"
    headwater("data", "protect", str(documents), "--output", str(out), "--action", "PHONE=keep")
    assert "13800001234" in out.read_text(encoding="utf-8")
    assert "王芳" not in out.read_text(encoding="utf-8")
    assert "The output is the source itself" in headwater("data", "protect", str(documents), "--output", str(documents), status=2)


def test_a_protected_table_is_registered_granted_and_asked_from_the_command_line(tmp_path: Path) -> None:
    declaration, rows, data = tmp_path / "d.yaml", tmp_path / "t.csv", str(tmp_path / "data")
    declaration.write_text(
        "columns:\n  - {name: age, kind: number, minimum: 0, maximum: 100}\n  - {name: sex, kind: category, values: [F, M]}\n"
    )
    rows.write_text("age,sex\n" + "30,F\n40,M\n" * 50)
    command = ("data", "protected")
    assert headwater(*command, "register", "people", str(declaration), "--rows", str(rows), "--data", data)["rows"] == 100
    headwater(*command, "grant", "people", "city", "--epsilon", "1", "--reason", "test", "--data", data)
    told = headwater(
        *command, "ask", "people", '{"group_by": ["sex"], "measures": [{"kind": "mean", "column": "age"}]}', "--data", data, "--json"
    )
    assert [cell["figures"] for cell in told["cells"]] == [{"count": 50, "mean(age)": 30.0}, {"count": 50, "mean(age)": 40.0}]
    assert headwater(*command, "ask", "people", '{"kind": "count", "epsilon": 0.4}', "--data", data)["epsilon"] == 0.4
    assert "has 0.6 of 1 left" in headwater(*command, "ask", "people", '{"kind": "count", "epsilon": 0.7}', "--data", data, status=1)
    assert headwater(*command, "show", "people", "--data", data)["budgets"][1]["left"] == 0.6
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("columns:\n  - {name: age, kind: number, minimum: 9, maximum: 1}\n")
    assert "wrong.yaml:2" in headwater(*command, "register", "other", str(wrong), "--rows", str(rows), "--data", data, status=2)


def test_bounds_that_cannot_be_kept_are_refused_by_the_step(tmp_path: Path) -> None:
    declaration, table = tmp_path / "d.yaml", tmp_path / "t.csv"
    declaration.write_text("schema: headwater.anonymity/1\nk: 50\nquasi_identifiers:\n  age: {}\n")
    table.write_text("age\n1\n2\n")
    with pytest.raises(Refused, match="No generalisation satisfies k=50"):
        one_step.run(anonymise, tmp_path / "run", {}, table=table, declaration=declaration)
