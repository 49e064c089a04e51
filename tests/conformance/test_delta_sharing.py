"""The Delta Sharing client, unmodified, against the server: what it reads, leaves out, and is refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import LINK_MINUTES, Ask, Portal

SERIES = [f"spatial.series-{number:02d}" for number in range(25)]
OPEN = sorted([*SERIES, "transport.bus-stops", "transport.road-speed"])


@pytest.fixture(scope="module")
def read(outside: Ask, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give all that the client found, with a link tried again after its time."""
    profile = portal.profile(tmp_path_factory.mktemp("profile"))
    wait_s = LINK_MINUTES * 60 + 0.5
    tokens = portal.tokens
    found = outside("delta", str(profile), "hw_api_forged", tokens["expired"], str(wait_s), tokens["caller"], tokens["operator"])
    return dict(found)


def test_shares_schemas_and_tables_are_listed_and_pages_make_up_the_whole(read: dict[str, Any]) -> None:
    assert (read["shares"], read["schemas"], read["tables"]) == (["open"], ["spatial", "transport"], OPEN)
    assert read["pages"] == [7, 7, 7, 6]
    assert read["paged"] == OPEN


def test_a_table_of_several_files_is_read_whole_and_up_to_a_limit(read: dict[str, Any]) -> None:
    assert (read["rows"], read["sum"], read["columns"]) == (300, sum(range(300)), ["n", "name", "speed", "day", "open"])
    assert (read["first_day"], read["limited"], read["none"]) == ("2026-01-15", 130, 0)
    assert read["as_delta"] == 300


def test_old_versions_stay_readable(read: dict[str, Any]) -> None:
    assert (read["new"], read["old"], read["versions"]) == (4, 3, [2, 1])


def test_the_schema_comes_with_delta_types(read: dict[str, Any]) -> None:
    assert [(one["name"], one["type"]) for one in read["metadata"]] == [
        ("编号", "long"),
        ("站名", "string"),
        ("lat", "double"),
        ("lon", "double"),
        ("opened", "date"),
    ]
    assert read["protocol"] == 1


def test_hints_leave_out_the_files_that_hold_nothing_and_no_other(read: dict[str, Any]) -> None:
    assert read["files"] == {
        "all": [0, 100, 200],
        "limit": [0, 100],
        "sql": [200],
        "sql_or": [0, 200],
        "sql_day": [100],
        "sql_unknown": [0, 100, 200],
        "json": [0, 100],
        "json_not": [200],
        "json_below": [0],
        "json_above": [0, 100, 200],  # NaN is above every number, and no file's statistics say whether it holds one
        "json_day": [200],
    }
    assert read["pruned_rows"] == 100


def test_whatever_is_wrong_is_told_in_the_protocols_words(read: dict[str, Any]) -> None:
    unauthenticated, nothing, wrong = [401, "UNAUTHENTICATED"], [404, "RESOURCE_DOES_NOT_EXIST"], [400, "INVALID_PARAMETER_VALUE"]
    refused = read["refused"]
    assert (refused["token"], refused["role"]) == (unauthenticated, [403, "PERMISSION_DENIED"])
    assert refused["expired"][:1] in ([401], ["ValueError"]) or "expired" in str(refused["expired"])
    assert [refused[one] for one in ("share", "schema", "table", "granted_only", "version")] == [nothing] * 5
    assert [refused[one] for one in ("both", "early", "time", "predicate", "page", "results")] == [wrong] * 6


def test_a_grant_shares_its_table_by_purpose_and_region_until_its_uses_are_spent(read: dict[str, Any]) -> None:
    assert read["granted"] == ["credit_assessment@CN-BJ.finance.firm-credit", "research@CN-BJ.finance.firm-credit"]
    assert read["granted_files"] == [1, 1, 1]
    assert read["spent"][0] in (403, 404)


def test_a_signed_address_opens_the_file_alone_until_it_expires(read: dict[str, Any]) -> None:
    assert (read["link"], read["range"], read["head"]) == (200, "PAR1", True)
    assert (read["tampered"], read["link_later"]) == (403, 403)


def test_the_profile_that_the_server_makes_lets_its_owner_in(portal: Portal, tmp_path: Path) -> None:
    import httpx

    answer = httpx.post(f"{portal.address}/delta/profile", headers={"authorization": f"Bearer {portal.tokens['viewer']}"}, trust_env=False)
    told = answer.json()
    assert answer.headers["content-disposition"] == 'attachment; filename="headwater.share"'
    assert told["expirationTime"] > time.strftime("%Y-%m-%d")
    shares = httpx.get(f"{told['endpoint']}/shares", headers={"authorization": f"Bearer {told['bearerToken']}"}, trust_env=False)
    assert [one["name"] for one in shares.json()["items"]] == ["open"]
