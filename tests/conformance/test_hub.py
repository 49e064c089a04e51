"""Hugging Face's `datasets` and `huggingface_hub`, unmodified, with HF_ENDPOINT at the server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.conftest import Ask, Portal


@pytest.fixture(scope="module")
def read(outside: Ask, portal: Portal) -> dict[str, Any]:
    """Give all that the client found."""
    return dict(outside("hub", HF_ENDPOINT=f"{portal.address}/hf", HF_HUB_DISABLE_TELEMETRY="1"))


def test_a_data_set_is_loaded_by_name_whole_and_streamed(read: dict[str, Any]) -> None:
    assert (read["splits"], read["sum"], read["streamed"]) == ({"train": 300}, sum(range(300)), [0, 1, 2])
    assert read["names"] == ["西直门", "东直门", "=1+1", "安定门"]
    assert read["configs"] == ["default"]


def test_a_revision_names_an_old_version(read: dict[str, Any]) -> None:
    assert read["rows_v1"] == 3


def test_plain_addresses_are_loaded_and_streamed_too(read: dict[str, Any]) -> None:
    assert (read["by_address"], read["by_address_streamed"]) == (300, [150, 151])


def test_files_are_listed_and_downloaded(read: dict[str, Any]) -> None:
    assert read["files"] == ["README.md", "stops.csv", "table/stops.parquet"]
    assert (read["first_line"], read["exists"], len(read["sha"])) == ("编号,站名,lat,lon,opened", True, 40)


def test_what_is_missing_or_not_for_all_raises_the_clients_own_errors(read: dict[str, Any]) -> None:
    assert read["errors"] == {
        "repository": "RepositoryNotFoundError",
        "organisation": "RepositoryNotFoundError",
        "revision": "RevisionNotFoundError",
        "file": "RemoteEntryNotFoundError",
        "gated": "GatedRepoError",
    }
