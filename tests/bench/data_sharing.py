"""A table of a million rows over Delta Sharing, beside a plain file server that serves the same Parquet files.

Two comparisons, both interleaved in one run: what the Delta Sharing client takes to read the whole table
into pandas, against the same client's reader given the plain server's addresses, which makes the same eleven
requests for each file; and the bytes alone, downloaded from the signed addresses and from the plain server,
which is nginx. What pandas takes for whole files from nginx, one request each, stands beside them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import polars as pl

from headwater.core import identity, platform, settings
from headwater.core.identity import ROOT
from headwater.data.catalogue import describe, publishing
from tests.bench import _report
from tests.bench._report import Figure

ROWS, FILES, ROUNDS, DOWNLOADS = 1_000_000, 8, 11, 11
REPOSITORY = Path(__file__).resolve().parents[2]
CLIENTS = REPOSITORY / "build" / "clients" / "bin" / "python"
NAME = "trips"
NGINX = """
daemon off; worker_processes 1; pid {work}/pid; error_log {work}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {work}; proxy_temp_path {work}; fastcgi_temp_path {work}; uwsgi_temp_path {work}; scgi_temp_path {work};
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""
READER = """
import json, sys, time
from urllib.parse import quote
import delta_sharing, pandas as pd, requests
from delta_sharing.converter import to_converters
from delta_sharing.protocol import AddFile, DeltaSharingProfile, Table
from delta_sharing.reader import DeltaSharingReader
from delta_sharing.rest_client import DataSharingRestClient

profile, plain, names, rounds, downloads = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
rest = DataSharingRestClient(DeltaSharingProfile.read_from_file(profile))
table = Table("trips", "open", "transport")

def shared():
    return delta_sharing.load_as_pandas(profile + "#open.transport.trips")

def from_plain():
    converters = to_converters(schema)
    files = [AddFile(url=one, id=one, partition_values={}, size=0) for one in direct]
    return pd.concat([DeltaSharingReader._to_pandas(one, converters, False, None, False) for one in files], ignore_index=True)

def whole():
    return pd.concat([pd.read_parquet(one) for one in direct], ignore_index=True)

def got(addresses):
    return sum(len(session.get(one).content) for one in addresses)

def timed(call):
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found

schema = json.loads(rest.query_table_metadata(table).metadata.schema_string)
session = requests.Session()
signed = [one.url for one in rest.list_files_in_table(table).add_files]
direct = [f"{plain}/{quote(name)}" for name in names]
shared(), from_plain(), whole(), got(signed), got(direct)
told = {"shared": [], "plain": [], "whole": [], "signed_bytes": [], "plain_bytes": []}
for number in range(rounds):
    for key, call in (("shared", shared), ("plain", from_plain), ("whole", whole))[:: 1 if number % 2 else -1]:
        took, frame = timed(call)
        told[key].append(took)
        told["rows"], told["sum"] = len(frame), int(frame["id"].sum())
for number in range(downloads):
    for key, addresses in (("signed_bytes", signed), ("plain_bytes", direct))[:: 1 if number % 2 else -1]:
        took, count = timed(lambda: got(addresses))
        told[key].append(took)
        told["bytes"] = count
print(json.dumps(told))
"""


def measure() -> Sequence[Figure]:
    """Return every figure."""
    if not CLIENTS.exists():
        raise SystemExit("The outside clients are not installed: python3 dev.py clients")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        token = filled(folder)
        with server(folder) as address, plain_server(folder / "files") as plain:
            profile = folder / "bench.share"
            told = {"shareCredentialsVersion": 1, "endpoint": f"{address}/delta", "bearerToken": token}
            profile.write_text(json.dumps(told), encoding="utf-8")
            return figures(client(profile, plain, sorted(path.name for path in (folder / "files").iterdir())))


def filled(folder: Path) -> str:
    """Publish the table and return a reader's token; its files stay in `files` for the plain server."""
    rng = np.random.default_rng(7)
    source = folder / "files"
    source.mkdir()
    for part in range(FILES):
        count = ROWS // FILES
        frame = pl.DataFrame(
            {
                "id": np.arange(part * count, (part + 1) * count),
                "lat": rng.normal(39.9, 0.1, count),
                "lon": rng.normal(116.4, 0.1, count),
                "speed": rng.gamma(4.0, 8.0, count),
                "line": rng.integers(1, 900, count).astype(str),
                "late": rng.random(count) < 0.2,
            }
        )
        frame.write_parquet(source / f"part-{part}.parquet")
    words = {"zh": "行程", "en": "Trips"}
    told = {"name": NAME, "title": words, "about": words, "licence": "CC0-1.0", "zone": "transport"}
    with platform.opened(settings.load(data_folder=folder / "data")) as site:
        person, now = site.found(), site.clock.now()
        publishing.publish(site, publishing.Wish(description=describe.from_json(told), source=source, organisation=ROOT, actor=person))
        return site.db.write(
            lambda connection: identity.issue_token(connection, person, kind="api", label="bench", lasts=timedelta(hours=1), at=now)
        )


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """Give the address of `headwater up` over the folder's data."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "HW_"))}
    command = [sys.executable, "-m", "headwater", "up", "--port", "0", "--data", str(folder / "data"), "--json"]
    printed = folder / "printed"
    with printed.open("w") as out, (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=out, stderr=log, env=clean)
    try:
        while not (text := printed.read_text()).endswith("}\n"):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.02)
        yield str(json.loads(text)["address"])
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextlib.contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """Give the address of nginx over a folder, with one worker, as ours has one process."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        raise SystemExit("The plain file server is nginx, which is not installed (on Debian: apt-get install nginx-light).")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    work = folder.parent / "nginx"
    work.mkdir()
    folder.parent.chmod(0o755)
    (work / "nginx.conf").write_text(NGINX.format(work=work, port=port, folder=folder), encoding="utf-8")
    process = subprocess.Popen([program, "-c", str(work / "nginx.conf"), "-p", str(work)], stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(address, trust_env=False)
                break
            assert process.poll() is None, "nginx ended at once"
            time.sleep(0.02)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def client(profile: Path, plain: str, names: list[str]) -> dict[str, list[float]]:
    """Run the reader with the outside client's own Python."""
    command = [str(CLIENTS), "-W", "ignore", "-c", READER, str(profile), plain, json.dumps(names), str(ROUNDS), str(DOWNLOADS)]
    clean = {"PATH": os.environ["PATH"], "HOME": str(profile.parent), "NO_PROXY": "*"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def figures(told: dict[str, list[float]]) -> list[Figure]:
    """Return the figures of one run; a ratio is the median over rounds, in each of which both were timed one after the other."""
    assert (told["rows"], told["sum"]) == (ROWS, ROWS * (ROWS - 1) // 2), "the table was not read whole"
    median = {name: statistics.median(told[name]) for name in ("shared", "plain", "whole", "signed_bytes", "plain_bytes")}
    spread = ", ".join(f"{one:.2f}" for one in sorted(told["shared"]))
    mebibytes = float(str(told["bytes"])) / 2**20
    return [
        Figure(name="rows read", value=float(ROWS), unit="rows", note=f"{mebibytes:.1f} MiB in {FILES} files"),
        Figure(name="Delta Sharing client, whole table, median", value=median["shared"], unit="s", note=f"of {spread}"),
        Figure(name="the same reader on the plain file server, median", value=median["plain"], unit="s"),
        Figure(name="pandas on the plain file server, whole files, median", value=median["whole"], unit="s"),
        Figure(name="table read: speed beside the plain server's", value=_ratio(told, "plain", "shared"), unit="times", at_least=0.5),
        Figure(name="signed addresses, bytes alone", value=mebibytes / median["signed_bytes"], unit="MiB/s"),
        Figure(name="plain file server, bytes alone", value=mebibytes / median["plain_bytes"], unit="MiB/s"),
        Figure(
            name="bytes alone: speed beside the plain server's",
            value=_ratio(told, "plain_bytes", "signed_bytes"),
            unit="times",
            at_least=0.5,
        ),
    ]


def _ratio(told: dict[str, list[float]], theirs: str, ours: str) -> float:
    return statistics.median(their / our for their, our in zip(told[theirs], told[ours], strict=True))


if __name__ == "__main__":
    _report.main("data_sharing", measure)
