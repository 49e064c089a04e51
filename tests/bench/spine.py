"""The spine's own cost: what the platform adds to a job, how fast it starts, what it holds, how long the demo takes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from sqlalchemy import func, select

from headwater.compute import jobs
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import ENDS, State
from headwater.core import platform, settings
from headwater.core.platform import Platform
from tests.bench import _report
from tests.bench._report import Figure
from tests.flow.compute.graphs import command, graph_of, submit

ONE_BY_ONE = 60
MANY = 500
STARTS = 5


def measure() -> Sequence[Figure]:
    """Return every figure of the spine."""
    return [*overhead(), *throughput(), *server(), *demo()]


@contextmanager
def dispatching(folder: Path):  # type: ignore[no-untyped-def]
    """Give a platform with a running dispatcher."""
    with platform.opened(settings.load(data_folder=folder, local_cpus=2, local_memory_gib=8)) as site:
        site.found()
        dispatcher = Dispatcher(site)
        dispatcher.start()
        try:
            yield site, dispatcher
        finally:
            dispatcher.stop()


def overhead() -> list[Figure]:
    """Time single no-op jobs from submission to the recorded end, beside bare process starts in the same run."""
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as folder, dispatching(Path(folder) / "data") as (site, dispatcher):
        for _ in range(ONE_BY_ONE):
            began = time.perf_counter()
            subprocess.run(["true"], check=True)
            bare.append(time.perf_counter() - began)
            ours.append(_one(site, dispatcher))
    cut = statistics.quantiles(ours, n=100)
    return [
        Figure(name="no-op job, submit to finish, p50", value=1e3 * statistics.median(ours), unit="ms"),
        Figure(name="no-op job, submit to finish, p99", value=1e3 * cut[98], unit="ms"),
        Figure(name="bare process start, p50", value=1e3 * statistics.median(bare), unit="ms", note="the floor, same run"),
    ]


def _one(site: Platform, dispatcher: Dispatcher) -> float:
    began = time.perf_counter()
    graph = submit(site, {"noop": command("true")})
    dispatcher.wake()
    while graph_of(site, graph)["noop"].state not in ENDS:
        time.sleep(0.001)
    return time.perf_counter() - began


def throughput() -> list[Figure]:
    """Time 500 no-op jobs submitted at once, four at a time."""
    with tempfile.TemporaryDirectory() as folder, dispatching(Path(folder) / "data") as (site, dispatcher):
        began = time.perf_counter()
        graph = submit(site, {f"n{number}": command("true", memory_gib=0.01) for number in range(MANY)})
        dispatcher.wake()
        while _unfinished(site, graph):
            time.sleep(0.05)
        took = time.perf_counter() - began
        done = sum(job.state is State.DONE for job in graph_of(site, graph).values())
    return [Figure(name=f"{MANY} no-op jobs", value=done / took, unit="jobs/s", note=f"{done} done in {took:.1f} s")]


def _unfinished(site: Platform, graph: str) -> int:
    open_jobs = select(func.count()).where(jobs.jobs.c.graph == graph, jobs.jobs.c.state.not_in(sorted(ENDS)))
    with site.db.read() as connection:
        return int(connection.execute(open_jobs).scalar_one())


def server() -> list[Figure]:
    """Time `headwater up` to its first answer on a fresh folder, and read its memory once it has served the console."""
    times, memory = [], 0.0
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            up = subprocess.Popen(
                [sys.executable, "-m", "headwater", "up", "--data", f"{folder}/data", "--port", "0", "--json"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            try:
                address = address_of(up)
                while not _answers(address):
                    time.sleep(0.005)
                times.append(time.perf_counter() - began)
                for _ in range(20):
                    httpx.get(f"{address}/sign-in", trust_env=False)
                memory = max(memory, psutil.Process(up.pid).memory_info().rss / 2**20)
            finally:
                up.terminate()
                up.wait(timeout=30)
    return [
        Figure(name="headwater up, first byte, median", value=statistics.median(times), unit="s", at_most=3.0),
        Figure(name="headwater up, resident", value=memory, unit="MiB", at_most=200.0, note="largest of the starts"),
    ]


def address_of(up: subprocess.Popen[bytes]) -> str:
    """Return where a server that was just started says it listens."""
    text = b""
    assert up.stdout is not None
    while not text.rstrip().endswith(b"}"):
        line = up.stdout.readline()
        if not line:
            raise RuntimeError("the server ended before it was up")
        text += line
    return str(json.loads(text)["address"])


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def demo() -> list[Figure]:
    """Time each step of the credit project on a fresh folder, and a second run that reuses them all."""
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        first, took = _demo(Path(folder))
        for job in first["run"]["jobs"]:
            figures.append(Figure(name=f"demo step {job['name']}", value=job["took_s"], unit="s"))
        figures.append(Figure(name="demo, whole, once installed", value=took, unit="s", at_most=60.0))
        again, took = _demo(Path(folder))
        reused = sum(job["state"] == "reused" for job in again["run"]["jobs"])
        figures.append(Figure(name="demo again, whole", value=took, unit="s", at_most=10.0))
        figures.append(Figure(name="demo again, steps reused", value=reused, unit="steps", at_least=len(first["run"]["jobs"])))
    return figures


def _demo(folder: Path) -> tuple[dict[str, dict[str, list[dict[str, float]]]], float]:
    began = time.perf_counter()
    command = [sys.executable, "-m", "headwater", "run", "recipes/credit/project.yaml", "--data", str(folder / "data")]
    subprocess.run([*command, "--result", str(folder / "result.json")], check=True, env=os.environ, stdout=subprocess.DEVNULL)
    return json.loads((folder / "result.json").read_text(encoding="utf-8")), time.perf_counter() - began


if __name__ == "__main__":
    _report.main("spine", measure)
