"""Frictionless: the client, unmodified, checks the package and reads its tables over HTTP."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Portal

frictionless = pytest.importorskip("frictionless", reason="needs frictionless (requirements/dev.txt)")


def package(portal: Portal, name: str) -> frictionless.Package:
    """Return the package that the client reads from the server."""
    return frictionless.Package(f"{portal.address}/dataset/{name}/datapackage.json")


@pytest.mark.filterwarnings("ignore")
def test_the_package_is_valid_with_every_hash_and_size_and_its_csv_is_read(portal: Portal) -> None:
    found = package(portal, "bus-stops")
    assert found.resource_names == ["stops.csv", "table-stops.parquet"]
    report = found.get_resource("stops.csv").validate()
    assert report.valid, report.flatten(["message"])
    rows = found.get_resource("stops.csv").read_rows()
    assert [row["编号"] for row in rows] == [1, 2, 3, 4]
    assert found.to_descriptor()["licenses"] == [
        {"name": "CC-BY-4.0", "path": "https://creativecommons.org/licenses/by/4.0/", "title": "Creative Commons Attribution 4.0"}
    ]


def test_the_schema_of_the_table_says_what_its_columns_are(portal: Portal) -> None:
    schema = package(portal, "road-speed").get_resource("part-0.parquet").schema
    assert {field.name: field.type for field in schema.fields} == {
        "n": "integer",
        "name": "string",
        "speed": "number",
        "day": "date",
        "open": "boolean",
    }


def test_a_package_of_a_data_set_that_is_not_open_names_no_file(portal: Portal) -> None:
    told = portal.get("/dataset/firm-credit/datapackage.json").json()
    assert (told["resources"], told["homepage"]) == ([], f"{portal.address}/dataset/firm-credit")
