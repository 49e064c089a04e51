"""A real server in a process of its own with data sets of each kind, and outside clients in an environment of their own.

The clients' own requirements do not fit ours (an older pyarrow, an older fsspec), so they have
`build/clients`: python3 dev.py clients.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from headwater.core import identity, platform, settings
from headwater.core.identity import ROOT, SYSTEM
from headwater.core.platform import Platform
from headwater.data.catalogue import describe, publishing, sets
from tests.flow.data.authorisation.cases import desk_on

REPOSITORY = Path(__file__).resolve().parents[2]
CLIENTS = Path(os.environ.get("HEADWATER_TEST_CLIENTS") or REPOSITORY / "build" / "clients") / "bin" / "python"
LINK_MINUTES = 0.1
DISTRICT = "city/haidian"
STOPS = "编号,站名,lat,lon,opened\n1,西直门,39.94,116.35,1984-09-20\n2,东直门,39.94,116.43,1984-09-20\n3,=1+1,39.9,116.4,\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Portal:
    """The server that runs: its address, tokens by role, and its data folder."""

    address: str
    tokens: dict[str, str]
    data: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str, **rest: Any) -> httpx.Response:
        """Return the answer to a GET without a sign-in."""
        return httpx.get(self.address + path, timeout=60, trust_env=False, **rest)

    def profile(self, folder: Path, role: str = "admin") -> Path:
        """Return a Delta Sharing profile file."""
        made = folder / f"{role}.share"
        told = {"shareCredentialsVersion": 1, "endpoint": f"{self.address}/delta", "bearerToken": self.tokens.get(role, role)}
        made.write_text(json.dumps(told), encoding="utf-8")
        return made


def description(name: str, **more: Any) -> describe.Description:
    """Return a description; `more` replaces its fields."""
    told = {
        "name": name,
        "title": {"zh": "公交站点", "en": "Bus stops"},
        "about": {"zh": "北京市公共交通站点的位置。", "en": 'Where the stops of public transport are: "quoted"\n<b>not bold</b>'},
        "licence": "CC-BY-4.0",
        "zone": "transport",
        "rhythm": "monthly",
        "keywords": ["公共交通", "stops"],
        "contact": "data@example.org",
        "spatial": "CN-BJ",
        "temporal": ["2020-01-01", None],
    }
    return describe.from_json(told | more)


def publish(site: Platform, folder: Path, files: dict[str, str | bytes], organisation: str = ROOT, **more: Any) -> None:
    """Publish files under a description."""
    source = folder / f"source-{more['name']}-{time.monotonic_ns()}"
    for name, content in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    wish = publishing.Wish(description=description(**more), source=source, organisation=organisation, actor=site.found())
    publishing.publish(site, wish)


def parts() -> dict[str, str | bytes]:
    """Return the three Parquet files of one table of 300 rows, whose columns' ranges do not overlap between files."""
    import io

    import polars as pl

    found: dict[str, str | bytes] = {}
    for part in range(3):
        start = part * 100
        frame = pl.DataFrame(
            {
                "n": range(start, start + 100),
                "name": [f"路段 {number:03d}" for number in range(start, start + 100)],
                "speed": [number / 2 for number in range(start, start + 100)],
                "day": pl.Series([f"2026-0{part + 1}-15"] * 100).str.to_date(),
                "open": [number % 2 == 0 for number in range(100)],
            }
        )
        buffer = io.BytesIO()
        frame.write_parquet(buffer)
        found[f"part-{part}.parquet"] = buffer.getvalue()
    return found


def fill(site: Platform, folder: Path) -> None:
    """Publish the data sets that the tests read."""
    identity_at = site.clock.now()
    site.db.write(lambda connection: identity.add_organisation(connection, DISTRICT, "海淀区 Haidian", actor=SYSTEM, at=identity_at))
    publish(site, folder, {"stops.csv": STOPS}, name="bus-stops")
    publish(site, folder, {"stops.csv": STOPS + "4,安定门,39.95,116.41,1984-09-20\n"}, name="bus-stops")
    publish(site, folder, parts(), name="road-speed", organisation=DISTRICT, title={"zh": "道路车速", "en": "Road speed"})
    publish(
        site, folder, {"firms.csv": "firm,score\nA,0.9\nB,0.4\n"}, name="firm-credit", zone="finance", openness="conditional",
        licence="terms-of-grant", title={"zh": "企业信用", "en": "Credit of firms"}, keywords=["credit"],
    )  # fmt: skip
    publish(site, folder, {"readme.txt": "words only\n"}, name="plain-words", zone=None, keywords=[], title={"zh": "文字", "en": "Words"})
    desk = desk_on(site)
    with site.db.read() as connection:
        firms = sets.find(connection, "firm-credit")
    desk.granted(firms, purposes="credit_assessment research", uses=3, term_until="2026-12-30")
    for number in range(25):
        publish(
            site, folder, {"t.csv": f"x\n{number}\n"}, name=f"series-{number:02d}", zone="spatial", title={"zh": "系列", "en": "Series"}
        )


def tokens(site: Platform) -> dict[str, str]:
    """Return a token of a new person for each role, in the whole city."""
    now = site.clock.now()

    def make(connection: identity.Connection) -> dict[str, str]:
        found = {}
        for role in ("admin", "developer", "viewer", "caller"):
            person = identity.add_person(connection, role, ROOT, actor=SYSTEM, at=now)
            identity.grant(connection, person, role, ROOT, reason="test", actor=SYSTEM, at=now)
            found[role] = identity.issue_token(connection, person, kind="api", label="test", lasts=timedelta(hours=2), at=now)
        operator = connection.execute(identity.select(identity.people.c.id).where(identity.people.c.name == "applicant")).scalar_one()
        found["operator"] = identity.issue_token(connection, operator, kind="api", label="test", lasts=timedelta(hours=2), at=now)
        person = identity.add_person(connection, "late", ROOT, actor=SYSTEM, at=now)
        identity.grant(connection, person, "viewer", ROOT, reason="test", actor=SYSTEM, at=now)
        found["expired"] = identity.issue_token(connection, person, kind="api", label="x", lasts=timedelta(microseconds=1), at=now)
        return found

    return site.db.write(make)


@pytest.fixture(scope="session")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """Give a server with data sets, started for these tests."""
    folder = tmp_path_factory.mktemp("portal")
    data = folder / "data"
    with platform.opened(settings.load(data_folder=data)) as site:
        site.found()
        fill(site, folder)
        known = tokens(site)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "HW_"))}
    environment = clean | {"HEADWATER_SIGNED_URL_MINUTES": str(LINK_MINUTES), "HEADWATER_PUBLIC_REQUESTS_PER_MINUTE": "100000"}
    command = [sys.executable, "-m", "headwater", "up", "--port", "0", "--data", str(data), "--json"]
    printed = folder / "printed"
    with printed.open("w") as out, (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=out, stderr=log, env=environment)
    try:
        until = time.monotonic() + 60
        while not (text := printed.read_text()).endswith("}\n"):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.02)
        yield Portal(address=json.loads(text)["address"], tokens=known, data=data, process=process)
    finally:
        process.terminate()
        process.wait(timeout=30)


Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def outside(portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Give a function that runs a script of `clients/` with an outside client's own Python and returns the JSON that it prints."""
    if not CLIENTS.exists():
        pytest.skip("the outside clients are not installed (python3 dev.py clients)")
    home = tmp_path_factory.mktemp("home")

    def ask(script: str, *arguments: str, **environment: str) -> Any:
        plain = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_PROXY": "*", "HF_HOME": str(home / "hf")}
        command = [str(CLIENTS), str(Path(__file__).parent / "clients" / f"{script}.py"), portal.address, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=plain | environment, cwd=home)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1])

    return ask
