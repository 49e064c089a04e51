"""Croissant: mlcroissant, unmodified, checks the card and reads the records over HTTP."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.conformance.conftest import Portal

mlc = pytest.importorskip("mlcroissant", reason="needs mlcroissant (requirements/dev.txt)")


@pytest.mark.filterwarnings("ignore")
def test_records_are_read_over_http(portal: Portal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROISSANT_CACHE", str(tmp_path))
    dataset = mlc.Dataset(f"{portal.address}/dataset/bus-stops/croissant.jsonld")
    rows = list(itertools.islice(dataset.records("table"), 10))
    assert [row["table/编号"] for row in rows] == [1, 2, 3, 4]
    assert [row["table/站名"] for row in rows] == [one.encode() for one in ("西直门", "东直门", "=1+1", "安定门")]
    assert dataset.metadata.name == "bus-stops"


@pytest.mark.filterwarnings("ignore")
def test_the_card_of_a_data_set_that_is_not_open_tells_everything_but_where_its_rows_are(portal: Portal) -> None:
    card = portal.get("/dataset/firm-credit/croissant.jsonld").json()
    assert {one["contentUrl"] for one in card["distribution"]} == {f"{portal.address}/dataset/firm-credit"}
    assert mlc.Dataset(card).metadata.name == "firm-credit"


def test_a_card_of_nothing_is_not_found(portal: Portal) -> None:
    assert portal.get("/dataset/nothing/croissant.jsonld").status_code == 404
