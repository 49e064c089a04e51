"""What this platform adds to a bare Slurm of its own: one job, an array of 500, and making room for a job with precedence."""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.engines.slurm_rest import RestClient
from headwater.compute.engines.slurm_users import Tokens
from headwater.compute.work import Phase, Work
from headwater.core.steps import Resources
from headwater.core.store import Store
from tests import slurm
from tests.bench._report import Figure
from tests.slurm import Cluster

ELEMENTS = 500
ROUNDS, STOPS = 15, 7
ARRAYS = 2
MIB = 65
ENDED = ("-h", "--states=PENDING,RUNNING,COMPLETING,CONFIGURING", "-o", "%i")


def figures() -> list[Figure]:
    """Measure on a Slurm that is started for it, ours and bare in turn, and return the figures with their bars."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = slurm.started(Path(folder) / "slurm")
        try:
            with _engine(cluster, Path(folder) / "ours") as engine, _engine(cluster, Path(folder) / "urgent", "urgent") as urgent:
                return [*_one(cluster, engine), *_array(cluster, engine), *_preempted(cluster, engine, urgent)]
        finally:
            cluster.stop()


@contextmanager
def _engine(cluster: Cluster, folder: Path, partition: str = "main") -> Iterator[SlurmEngine]:
    client = RestClient(cluster.url, Tokens("root", file=cluster.token_file))
    made = SlurmEngine(root=folder, store=Store(str(folder) + "-store", max_bytes=1 << 20), client=client, partition=partition)
    yield made
    made.sweep(())
    made.close()


def _work(key: str, *argv: str, cards: int = 0) -> Work:
    return Work(key=key, argv=argv, resources=Resources(memory_gib=(MIB - 64) / 1024, accelerators={"ascend910b": cards}))


def _ended(engine: SlurmEngine, keys: Sequence[str]) -> None:
    left = set(keys)
    while left := left - {key for key, seen in engine.poll(left).items() if seen.phase is not Phase.RUNNING}:
        engine.wait(0.2)


def _bare(cluster: Cluster, script: str, *options: str) -> str:
    argv = ("sbatch", "--parsable", f"--mem={MIB}M", "--output=/dev/null", "--partition=main", *options, f"--wrap={script}")
    return cluster.command(*argv).strip()


def _until(holds: Callable[[], bool], pause_s: float) -> None:
    while not holds():
        time.sleep(pause_s)


def _timed(call: Callable[[int], None], number: int) -> float:
    began_s = time.perf_counter()
    call(number)
    return time.perf_counter() - began_s


def _one(cluster: Cluster, engine: SlurmEngine) -> list[Figure]:
    """Submit-to-done of `true`, ours and bare in turn; bare is done once its script has written a file.

    Slurm's scheduler looks at the queue once a second, so the time from handing in to the start is chance. What is added is what
    is not that: handing in, and from the start (its log is opened) to where the end is known.
    """
    rounds = [(bare_job(cluster, number), _one_ours(engine, number)) for number in range(ROUNDS)]
    theirs, mine = (1e3 * statistics.median(sum(one) for one in column) for column in zip(*rounds, strict=True))
    added = [1e3 * (ours.handing_in + ours.running - bare.handing_in - bare.running) for bare, ours in rounds]
    note = f"median of {ROUNDS}, by slurmrestd"
    return [
        Figure(name="`true`, bare sbatch to done", value=theirs, unit="ms", note=f"median of {ROUNDS}"),
        Figure(name="`true`, submitted to done through us", value=mine, unit="ms", note=note),
        Figure(
            name="added to one job", value=statistics.median(added), unit="ms", at_most=50, note="median of pairs, but for Slurm's wait"
        ),
    ]


class Took(NamedTuple):
    """Seconds of one job: handing it in, its wait in Slurm, and from its start to where its end is known."""

    handing_in: float
    waiting: float
    running: float


def _took(began_s: float, handed_s: float, log: Path) -> Took:
    now_s, started_s = time.time(), log.stat().st_mtime
    return Took(handed_s - began_s, started_s - handed_s, now_s - started_s)


def bare_job(cluster: Cluster, number: int) -> Took:
    """Run a script of `true` by `sbatch` and return what it took; it is done once it has written a file."""
    done, log = cluster.folder / f"done-{number}", cluster.folder / f"log-{number}"
    time.sleep(random.random())
    began_s = time.time()
    _bare(cluster, f"true; : > {done}", f"--output={log}")
    handed_s = time.time()
    _until(done.exists, 0.002)
    return _took(began_s, handed_s, log)


def _one_ours(engine: SlurmEngine, number: int) -> Took:
    time.sleep(random.random())
    began_s = time.time()
    engine.submit(_work(f"one-{number}", "true"))
    handed_s = time.time()
    _ended(engine, [f"one-{number}"])
    return _took(began_s, handed_s, engine.folder(f"one-{number}") / "slurm.log")


def _array(cluster: Cluster, engine: SlurmEngine) -> list[Figure]:
    """An array of `true`, ours and bare in turn, as elements a second; ours to where the end of each is known.

    Each begins with an empty queue, for which the clock does not run: what the one before left to Slurm is not this one's.
    """

    def bare(number: int) -> None:
        job = _bare(cluster, "true", f"--array=0-{ELEMENTS - 1}")
        _until(lambda: not cluster.command("squeue", "-j", job, *ENDED).strip(), 0.2)

    def ours(number: int) -> None:
        works = [_work(f"array-{number}-{index}", "true") for index in range(ELEMENTS)]
        engine.submit_all(works)
        _ended(engine, [work.key for work in works])

    def timed(call: Callable[[int], None], number: int) -> float:
        _until(lambda: not cluster.command("squeue", *ENDED).strip(), 0.2)
        return _timed(call, number)

    times = [(timed(bare, number), timed(ours, number)) for number in range(ARRAYS)]
    theirs, mine = (ELEMENTS * ARRAYS / sum(column) for column in zip(*times, strict=True))
    note = f"{ELEMENTS} elements, {ARRAYS} times in turn"
    return [
        Figure(name="array of `true`, bare", value=theirs, unit="jobs/s", note=note),
        Figure(name="array of `true`, through us", value=mine, unit="jobs/s", note=note),
        Figure(name="array, ours over bare", value=mine / theirs, unit="x", at_least=0.9),
    ]


def _preempted(cluster: Cluster, engine: SlurmEngine, urgent: SlurmEngine) -> list[Figure]:
    """From handing in a job with precedence to its start, while every card is held: bare and ours in turn.

    Slurm's look at the queue once a second is in both, so single pairs differ by up to a second either way.
    """
    rounds = [(_preempting(cluster, engine, None, number), _preempting(cluster, engine, urgent, number)) for number in range(STOPS)]
    bare, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    added = statistics.median(ours - bare for bare, ours in rounds)
    return [
        Figure(name="preempt to run, bare", value=bare, unit="s", note=f"median of {STOPS}"),
        Figure(name="preempt to run, through us", value=ours, unit="s", note=f"median of {STOPS}"),
        Figure(name="added to preempt to run", value=added, unit="s", at_most=1.0, note=f"median of pairs, load {os.getloadavg()[0]:.0f}"),
    ]


def _preempting(cluster: Cluster, engine: SlurmEngine, urgent: SlurmEngine | None, number: int) -> float:
    """Return the seconds from handing in a job with precedence, through an engine or bare, to its start."""
    name = f"urgent-{number}"
    held = [_work(f"{'ours' if urgent else 'bare'}-held-{number}-{place}", "sleep", "600", cards=4) for place in range(2)]
    engine.submit_all(held)
    _until(lambda: all((engine.folder(work.key) / "runner.json").exists() for work in held), 0.05)
    time.sleep(random.random())
    began_s = time.perf_counter()
    if urgent is None:
        mark = cluster.folder / name
        _bare(cluster, f": > {mark}", "--partition=urgent", "--gres=npu:ascend910b:4")
    else:
        urgent.submit(_work(name, "true", cards=4))
        mark = urgent.folder(name) / "log.txt"
    _until(mark.exists, 0.002)
    took_s = time.perf_counter() - began_s
    for work in held:
        engine.cancel(work.key)
    _ended(engine, [work.key for work in held])
    return took_s


if __name__ == "__main__":
    from tests.bench._report import main

    main("dispatch_slurm", figures)
