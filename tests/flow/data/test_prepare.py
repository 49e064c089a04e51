"""data.prepare on files: what is kept, what is set aside, what is refused, and that it comes out the same each time."""

from __future__ import annotations

import json
import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import BadFile, BadInput, LimitExceeded
from headwater.core.steps import Task
from headwater.core.tabular import read_signature
from headwater.data.split import PARTS
from headwater.data.steps import prepare
from tests.flow.data.one_step import CREDIT, digest, run, run_seeded
from tests.unit.data.loans import CARD, HEADER

GOOD = [f"{10 * one}.5,{one + 1},{1 + one % 2},{20 + one},note {one},{'late' if one % 3 else 'repaid'}" for one in range(60)]


@pytest.fixture
def write(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Give a function that prepares lines in a fresh folder."""
    (tmp_path / "card.yaml").write_text(CARD, encoding="utf-8")

    def prepared(lines: list[str], encoding: str = "utf-8", **params: object) -> Task:
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        table = tmp_path / f"{folder.name}.csv"
        table.write_text("\n".join([HEADER, *lines]) + "\n", encoding=encoding)
        return run(prepare, folder, params, table=table, card=tmp_path / "card.yaml")

    return prepared


def rows_of(task: Task, part: str) -> pl.DataFrame:
    return pl.read_parquet(task.outputs["dataset"] / f"{part}.parquet")


def test_the_credit_recipe_gives_its_published_split_with_nothing_set_aside(tmp_path: Path) -> None:
    given_files = {
        "table": CREDIT / "south_german_credit.csv",
        "card": CREDIT / "card.yaml",
        "split": CREDIT / "south_german_credit_split.csv",
    }
    task = run(prepare, tmp_path / "a", **given_files)
    assert task.metrics == {"rows": 1000, "kept_rows": 1000, "rejected_rows": 0, "train_rows": 600, "valid_rows": 100, "test_rows": 300}
    quality = json.loads((task.outputs["dataset"] / "quality.json").read_text())
    assert quality["parts"]["test"]["classes"] == {"0": 90, "1": 210}
    young = rows_of(task, "test").filter(pl.col("age") <= 25)
    assert young.height == 68
    signature = read_signature(task.outputs["dataset"])
    assert not {"age", "personal_status_sex", "foreign_worker"} & set(signature.names)
    assert (signature.target, signature.classes, signature.positive) == ("credit_risk", (0, 1), 0)
    again = run(prepare, tmp_path / "b", **given_files)
    assert digest(task, "dataset", tmp_path / "store") == digest(again, "dataset", tmp_path / "store")


def test_the_recipes_table_is_the_shared_one(tmp_path: Path) -> None:
    shared = Path(__file__).resolve().parents[3].parent / "shared" / "trust"
    if not shared.exists():
        pytest.skip("needs ../shared/trust, which is not here")
    for name in ("south_german_credit.csv", "south_german_credit_split.csv"):
        assert (CREDIT / name).read_bytes() == (shared / name).read_bytes()


def test_croissant_is_valid_for_the_reference_reader_which_reads_the_same_records(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    import mlcroissant  # type: ignore[import-untyped]

    task = write([*GOOD, "1,2,1,,=HYPERLINK(),late"])
    dataset = mlcroissant.Dataset(str(task.outputs["dataset"] / "croissant.json"))
    assert (dataset.metadata.issues.errors, dataset.metadata.issues.warnings) == (set(), set())
    assert dataset.metadata.name == "small-loans"
    for part in PARTS:
        expected = rows_of(task, part)
        records = list(dataset.records(part))
        assert [record[f"{part}/_row"] for record in records] == expected["_row"].to_list()
        assert [record[f"{part}/amount"] for record in records] == expected["amount"].to_list()
        assert [record[f"{part}/outcome"].decode() for record in records] == expected["outcome"].to_list()


def test_bad_rows_are_found_again_in_rejected_with_the_whole_row(write) -> None:  # type: ignore[no-untyped-def]
    task = write([*GOOD, "x,1,1,30,n,late", "1,2", GOOD[0]], largest_rejected_share=0.1)
    told = rows_of(task, "rejected").to_dicts()
    assert [(one["row"], one["line"], one["column"], one["reason"], one["text"]) for one in told] == [
        (60, 62, "amount", "not a number", "x"),
        (61, 63, None, "2 cells, the header has 6", None),
        (62, 64, None, "the same as row 0", None),
    ]
    assert json.loads(told[1]["record"]) == ["1", "2"]
    quality = json.loads((task.outputs["dataset"] / "quality.json").read_text())
    assert (quality["rejected_rows"], quality["rejected_whole_rows"]) == (3, {"ragged": 1, "duplicates": 1})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_chinese_text_comes_through_in_each_encoding(write, encoding: str) -> None:  # type: ignore[no-untyped-def]
    task = write([line.replace("note", "备注") for line in GOOD], encoding)
    assert task.facts["encoding"] == encoding
    notes = {note for part in PARTS for note in rows_of(task, part)["note"]}
    assert notes == {f"备注 {number}" for number in range(60)}


@settings(max_examples=15, deadline=None)
@given(st.randoms(), st.integers(0, 1000), st.integers(0, 3))
def test_each_row_is_in_exactly_one_part_or_set_aside_and_order_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: random.Random, seed: int, bad: int
) -> None:
    folder = tmp_path_factory.mktemp("order")
    lines = [*GOOD, *["x,1,1,30,n,late"] * bad]
    (folder / "card.yaml").write_text(CARD, encoding="utf-8")
    found = []
    for name in ("a", "b"):
        (folder / f"{name}.csv").write_text("\n".join([HEADER, *lines]), encoding="utf-8")
        task = run_seeded(seed, prepare, folder / name, table=folder / f"{name}.csv", card=folder / "card.yaml")
        places = [row for part in PARTS for row in rows_of(task, part)["_row"]] + rows_of(task, "rejected")["row"].unique().to_list()
        assert sorted(places) == list(range(len(lines)))
        found.append({part: set(rows_of(task, part)["note"]) for part in PARTS})
        order.shuffle(lines)
    assert found[0] == found[1]


def test_parquet_gives_the_same_data_set_as_csv(tmp_path: Path, write) -> None:  # type: ignore[no-untyped-def]
    from_csv = write(GOOD)
    cells = [line.split(",") for line in GOOD]
    frame = pl.DataFrame(cells, schema=HEADER.split(","), orient="row").with_columns(
        pl.col("amount").cast(pl.Float64), pl.col("months", "purpose", "age").cast(pl.Int64)
    )
    frame.write_parquet(tmp_path / "table.parquet")
    task = run(prepare, tmp_path / "p", table=tmp_path / "table.parquet", card=tmp_path / "card.yaml")
    for part in PARTS:
        assert rows_of(task, part).equals(rows_of(from_csv, part))


def test_a_broken_parquet_file_or_one_with_nested_values_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(CARD, encoding="utf-8")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + b"\x00" * 50)
    with pytest.raises(BadInput, match="Parquet file cannot be read"):
        run(prepare, tmp_path / "a", table=tmp_path / "cut.parquet", card=tmp_path / "card.yaml")
    pl.DataFrame({"amount": [[1, 2]]}).write_parquet(tmp_path / "nested.parquet")
    with pytest.raises(BadInput, match="'amount' holds values of the kind list"):
        run(prepare, tmp_path / "b", table=tmp_path / "nested.parquet", card=tmp_path / "card.yaml")


@pytest.mark.parametrize(
    ("params", "lines", "error", "said"),
    [
        ({}, [], BadInput, "a header and no rows"),
        ({}, ["x,1,1,30,n,late"] * 5, BadInput, r"5 of 5 rows \(100\.0%\)"),
        ({}, ["1,1,1,30,n,late"], BadInput, "The part 'valid' has no rows"),
        ({"largest_table_mib": 1}, ["1,1,1,30," + "n" * 1000 + ",late"] * 1100, LimitExceeded, r"The table has 1\.\d MiB; the limit is 1"),
        ({"delimiter": ";"}, GOOD, BadInput, "not on the card: amount,months"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_and_leaves_no_data_set(write, tmp_path: Path, params, lines, error, said) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=said):
        write(lines, **params)
    assert not list(tmp_path.glob("*/outputs/dataset"))


def test_files_that_are_no_tables_or_cards_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "card.yaml").write_text(CARD, encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text(CARD.replace("positive: late", "positive: [late"), encoding="utf-8")
    with pytest.raises(BadInput, match="The table is empty: 0 bytes"):
        run(prepare, tmp_path / "a", table=tmp_path / "empty.csv", card=tmp_path / "card.yaml")
    with pytest.raises(BadFile, match=r"card:1[0-9].*not YAML"):
        run(prepare, tmp_path / "b", table=tmp_path / "empty.csv", card=tmp_path / "wrong.yaml")
    with pytest.raises(BadInput, match="needs the input 'card'"):
        run(prepare, tmp_path / "c", table=tmp_path / "empty.csv")


def test_a_split_file_and_fractions_exclude_each_other(tmp_path: Path) -> None:
    files = {"table": CREDIT / "south_german_credit.csv", "card": CREDIT / "card.yaml", "split": CREDIT / "south_german_credit_split.csv"}
    with pytest.raises(BadInput, match="Both a split file and fractions"):
        run(prepare, tmp_path / "a", {"fractions": {"train": 0.6, "valid": 0.2, "test": 0.2}}, **files)
