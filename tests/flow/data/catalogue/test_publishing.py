"""Publishing a data set: whole or not at all, immutable, named by content, with its Delta table, statement and ledger entry."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deltalake import DeltaTable

from headwater.core import evidence, ledger
from headwater.core.errors import BadInput, Conflict, NotFound, Refused
from headwater.core.identity import ROOT, add_organisation
from headwater.core.platform import Platform
from headwater.data.catalogue import delta, publishing, sets
from tests.flow.data.conftest import BUS_STOPS, Publish, description


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def test_a_csv_becomes_a_typed_table_and_the_file_handed_in_is_kept(site: Platform, publish: Publish) -> None:
    version = publish()
    assert [(one.name, one.type) for one in version.columns] == [
        ("编号", "integer"),
        ("站名", "text"),
        ("lat", "number"),
        ("lon", "number"),
        ("opened", "date"),
    ]
    assert (version.number, version.rows, [one.name for one in version.table]) == (1, 3, ["table/stops.parquet"])
    with sets.open_file(site.store, version, "stops.csv") as file:
        assert file.read().decode() == BUS_STOPS


def test_each_version_is_a_commit_of_one_delta_table_that_shares_its_bytes_with_the_store(site: Platform, publish: Publish) -> None:
    first = publish()
    second = publish(BUS_STOPS + "4,安定门,39.95,116.41,1984-09-20\n")
    table = delta.table_folder(site, first.dataset)
    assert (first.delta, second.delta) == (0, 1)
    assert DeltaTable(str(table), version=0).to_pyarrow_table().num_rows == 3
    newest = DeltaTable(str(table)).to_pyarrow_table()
    assert newest.num_rows == 4
    assert sorted(newest.column("编号").to_pylist()) == [1, 2, 3, 4]
    assert all(path.stat().st_nlink == 2 for path in table.glob("*.parquet"))
    log = (table / "_delta_log" / "00000000000000000001.json").read_text(encoding="utf-8").splitlines()
    added = next(json.loads(line)["add"] for line in log if '"add"' in line)
    statistics = json.loads(added["stats"])
    assert (statistics["numRecords"], statistics["minValues"]["编号"], statistics["maxValues"]["编号"]) == (4, 1, 4)
    assert statistics["nullCount"]["站名"] == 1


def test_a_version_that_keeps_some_files_and_drops_others_reads_right_in_delta(site: Platform, publish: Publish, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "a.csv").write_text("n\n1\n2\n", encoding="utf-8")
    (folder / "b.csv").write_text("n\n3\n", encoding="utf-8")
    wish = publishing.Wish(description=description("parts"), source=folder, organisation=ROOT, actor=site.found())
    first = publishing.publish(site, wish)
    (folder / "b.csv").unlink()
    (folder / "c.csv").write_text("n\n4\n5\n6\n", encoding="utf-8")
    second = publishing.publish(site, wish)
    read = [
        sorted(DeltaTable(str(delta.table_folder(site, one.dataset)), version=one.delta).to_pyarrow_table().column("n").to_pylist())
        for one in (first, second)
    ]
    assert read == [[1, 2, 3], [1, 2, 4, 5, 6]]


def test_old_versions_stay_readable_in_delta_for_good(site: Platform, publish: Publish) -> None:
    version = publish()
    configuration = DeltaTable(str(delta.table_folder(site, version.dataset))).metadata().configuration
    assert configuration["delta.logRetentionDuration"] == "interval 36500 days"


def test_a_publication_that_was_cut_off_after_its_delta_commit_is_made_good_by_the_next(
    site: Platform, publish: Publish, tmp_path: Path
) -> None:
    first = publish()
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / "stops.csv").write_text(BUS_STOPS + "4,x,1,1,\n", encoding="utf-8")
    content = publishing.stored(site, folder, description())
    assert delta.commit(site, first.dataset, content.digest, [one for one in content.files if one.table]) == 1
    second = publish(BUS_STOPS + "4,x,1,1,\n")
    assert (second.number, second.delta) == (2, 1)
    assert DeltaTable(str(delta.table_folder(site, first.dataset)), version=1).to_pyarrow_table().num_rows == 4


def test_the_same_content_is_the_same_version_and_a_job_publishes_once(site: Platform, publish: Publish) -> None:
    first = publish(job="run-1.publish")
    assert publish() == first
    assert publish(BUS_STOPS + "9,x,1,1,\n", job="run-1.publish") == first
    with site.db.read() as connection:
        assert len(sets.versions(connection, first.dataset)) == 1


def test_a_version_comes_with_a_statement_about_its_digest_and_a_ledger_entry(site: Platform, publish: Publish) -> None:
    version = publish()
    with site.db.read() as connection:
        held = evidence.get(connection, version.statement)
        told = evidence.check(connection, site.keyring, held, now=site.clock.now(), artifact=version.digest)
        entries = [entry.kind for entry in ledger.entries(connection, subject=version.dataset)]
    assert (told.predicate["dataset"], told.predicate["version"], told.predicate["rows"]) == ("bus-stops", 1, 3)
    assert entries == ["data.declared", "data.published"]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a,b\n1,2\n3\n", "stops.csv:3", "line 3: 1 cells, the header has 2"),
        ("a,a\n1,2\n", "stops.csv:1", "stands 2 times"),
        ("", "stops.csv", "empty"),
        ("a,b\n", "stops.csv", "no rows"),
        ("名称,甲\n北京交通,1\n".encode() + "上海,2\n".encode("gb18030"), "stops.csv:3", "mixes encodings"),
        (b"\xef\xbb\xbf" + "名称\n北京\n".encode() + "上海\n".encode("gb18030"), "stops.csv:3", "mixes encodings"),
        (b"PAR1 this is not a text PAR1", "stops.csv", "Parquet by its content"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_line_and_leaves_nothing(
    site: Platform, publish: Publish, text: str | bytes, where: str, what: str
) -> None:
    with pytest.raises(BadInput, match=what) as caught:
        publish(text)
    assert str(caught.value).startswith(where)
    with site.db.read() as connection, pytest.raises(NotFound):
        sets.find(connection, "bus-stops")
    assert files_in(site.settings.data_folder / "incoming") == []
    assert files_in(site.settings.data_folder / "delta") == []


def test_gb18030_and_a_byte_order_mark_are_read(publish: Publish) -> None:
    version = publish("名称,数\n北京市公共交通,1\n".encode("gb18030"), name="gb")
    assert [one.name for one in version.columns] == ["名称", "数"]
    version = publish("名称,数\n北京市公共交通,1\n".encode("utf-8-sig"), name="bom")
    assert [one.name for one in version.columns] == ["名称", "数"]


def test_a_cell_that_is_not_of_the_described_type_is_named_by_line_and_column(publish: Publish) -> None:
    columns = [{"name": "n", "type": "integer"}, {"name": "day", "type": "date"}]
    with pytest.raises(BadInput, match=r"stops.csv:3: 1 cells of the column 'n' are no integer. line 3: '2.5'"):
        publish("n,day\n1,2026-01-01\n2.5,2026-01-02\n", columns=columns)
    with pytest.raises(BadInput, match=r"stops.csv:2: 1 cells of the column 'day' are no date. line 2: '2026-02-30'"):
        publish("n,day\n1,2026-02-30\n2,2026-01-02\n", columns=columns)


def test_columns_that_differ_from_the_description_are_refused_by_name(publish: Publish) -> None:
    with pytest.raises(BadInput, match="described and not in the table: day; in the table and not described: date"):
        publish("n,date\n1,x\n", columns=[{"name": "n", "type": "integer"}, {"name": "day", "type": "date"}])


def test_an_unknown_zone_a_closed_licence_for_open_data_and_anothers_name_are_refused(site: Platform, publish: Publish) -> None:
    with pytest.raises(BadInput, match="no zone 'moon'"):
        publish(zone="moon")
    with pytest.raises(BadInput, match="not an open one"):
        publish(licence="CC-BY-NC-4.0")
    publish()
    site.db.write(lambda connection: add_organisation(connection, "city/lab", "Lab", actor="test", at=site.clock.now()))
    site.db.write(lambda connection: add_organisation(connection, "town", "Town", actor="test", at=site.clock.now()))
    with pytest.raises(Refused, match="belongs to city"):
        publishing.declare(site, description(), "town", actor="test")


def test_withdrawing_hides_a_data_set_and_keeps_its_versions(site: Platform, publish: Publish) -> None:
    version = publish()
    withdrawn = publishing.withdraw(site, "bus-stops", reason="superseded", actor=site.found())
    assert not withdrawn.published
    assert publishing.withdraw(site, "bus-stops", reason="again", actor=site.found()) == withdrawn
    with site.db.read() as connection:
        assert sets.listed(connection).total == 0
        assert sets.versions(connection, version.dataset) == (version,)
    with pytest.raises(Conflict, match="was withdrawn: superseded"):
        publish(BUS_STOPS + "5,x,1,1,\n")


def test_many_who_publish_at_once_each_get_a_version_of_their_own(any_site: Platform, tmp_path: Path) -> None:
    def one(number: int) -> int:
        source = tmp_path / f"{number}.bin"
        source.write_bytes(bytes([number]))
        wish = publishing.Wish(description=description("raw"), source=source, organisation=ROOT, actor="test")
        return publishing.publish(any_site, wish).number

    one(0)
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(one, range(1, 9)))
    assert sorted(numbers) == list(range(2, 10))
