"""Handing data sets on: pushing to a CKAN (this server's own CKAN side, spoken to as any other), and the ZIP for data markets."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from headwater.core import platform, settings
from headwater.core.platform import Platform
from tests.conformance.conftest import STOPS, Portal, publish


def headwater(*arguments: str, data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command on another platform than the server's."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "HW_", "CKAN_"))}
    command = [sys.executable, "-m", "headwater", "data", *arguments, "--json", "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=clean | environment)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the data folder of a second platform with an open and a conditional data set."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with platform.opened(settings.load(data_folder=folder / "data")) as site:
        site.found()
        fill(site, folder)
    return folder / "data"


def fill(site: Platform, folder: Path) -> None:
    """Publish what is handed on."""
    publish(site, folder, {"stops.csv": STOPS, "notes/read me.txt": "words\n"}, name="pushed", title={"zh": "推送", "en": "Pushed"})
    publish(site, folder, {"firms.csv": "firm\nA\n"}, name="closed", openness="conditional", zone="finance", licence="terms-of-grant")


def test_a_push_creates_then_sends_only_what_changed(elsewhere: Path, portal: Portal) -> None:
    to, token = f"{portal.address}/ckan", portal.tokens["developer"]
    first = headwater("push", "pushed", "--to", to, data=elsewhere, CKAN_TOKEN=token)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert (told["created"], sorted(told["sent"]), told["kept"]) == (True, ["notes/read me.txt", "stops.csv"], [])
    there = shown(portal, "pushed")
    assert (there["title"], there["license_id"], there["groups"][0]["name"]) == ("Pushed", "CC-BY-4.0", "transport")
    by_name = {one["name"]: one for one in there["resources"]}
    assert httpx.get(by_name["stops.csv"]["url"], trust_env=False).text == STOPS
    again = json.loads(headwater("push", "pushed", "--to", to, data=elsewhere, CKAN_TOKEN=token).stdout)
    assert (again["created"], again["sent"], sorted(again["kept"])) == (False, [], ["notes/read me.txt", "stops.csv"])
    assert shown(portal, "pushed")["version"] == there["version"]


def shown(portal: Portal, name: str) -> dict[str, Any]:
    """Return a package of the other side."""
    return dict(portal.get("/ckan/api/3/action/package_show", params={"id": name}).json()["result"])


def test_a_push_is_refused_without_the_right_or_for_rows_that_are_not_for_all(elsewhere: Path, portal: Portal) -> None:
    to = f"{portal.address}/ckan"
    closed = headwater("push", "closed", "--to", to, data=elsewhere, CKAN_TOKEN=portal.tokens["developer"])
    assert (closed.returncode, "may not be handed on" in closed.stderr) == (1, True)
    viewer = headwater("push", "pushed", "--to", to, data=elsewhere, CKAN_TOKEN=portal.tokens["viewer"])
    assert (viewer.returncode, "does not let this token" in viewer.stderr) == (1, True)
    assert "needs a token" in headwater("push", "pushed", "--to", to, data=elsewhere).stderr
    nobody = headwater("push", "pushed", "--to", "http://127.0.0.1:9/ckan", data=elsewhere, CKAN_TOKEN="x")
    assert (nobody.returncode, "does not answer as a CKAN" in nobody.stderr) == (3, True)
    page = headwater("push", "pushed", "--to", portal.address, data=elsewhere, CKAN_TOKEN="x")
    assert page.returncode in (1, 3)


def test_the_archive_for_a_market_is_whole_the_same_each_time_and_adds_up(elsewhere: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        done = headwater("export", "pushed", "--to", str(tmp_path / f"{name}.zip"), data=elsewhere)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    members = read(tmp_path / "one.zip")
    listed = dict(reversed(line.split("  ")) for line in members["checksums.sha256"].decode().splitlines())
    assert listed == {name: hashlib.sha256(data).hexdigest() for name, data in members.items() if name != "checksums.sha256"}
    assert "'=1+1" in members["samples/table.csv"].decode("utf-8-sig")
    card, terms = json.loads(members["card.croissant.jsonld"]), json.loads(members["terms.odrl.jsonld"])
    assert card["name"] == "pushed"
    assert "odrl:Set" in json.dumps(terms)
    assert json.loads(members["prices.json"])["open"] is True


def test_the_archive_of_a_data_set_that_is_not_open_holds_terms_and_no_row(elsewhere: Path, tmp_path: Path) -> None:
    assert headwater("export", "closed", "--to", str(tmp_path / "c.zip"), data=elsewhere).returncode == 0
    members = read(tmp_path / "c.zip")
    assert not any(name.startswith("samples/") for name in members)
    assert "odrl:Offer" in members["terms.odrl.jsonld"].decode()
    assert b"/files/" not in b"".join(members.values())


def test_the_archive_names_the_ceiling_that_a_grant_sets(portal: Portal, tmp_path: Path) -> None:
    done = headwater("export", "firm-credit", "--to", str(tmp_path / "f.zip"), data=portal.data)
    assert done.returncode == 0, done.stderr
    ceilings = json.loads(read(tmp_path / "f.zip")["prices.json"])["ceilings"]
    assert [one["ceiling"] for one in ceilings] in ([1000], [])  # none once its uses are spent


def read(path: Path) -> dict[str, bytes]:
    """Return an archive's members without the folder that they lie in."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
