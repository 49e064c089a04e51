"""The server is killed again and again while a graph runs: nothing is lost, nothing runs twice, nothing is left behind."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

from headwater.compute.jobs import ENDS, State
from headwater.core import ledger, platform, settings
from tests.flow.compute.graphs import command, graph_of, submit
from tests.flow.compute.servers import ServerProcess, processes_of

KILLS = 50
JOBS = 40
SEED = 20261123


def described(diary: Path, release: Path, chance: random.Random) -> dict[str, object]:
    """Describe a graph of 40 jobs in five layers, each noting in a diary when it begins and ends.

    The last layer waits for a file, so that the graph cannot end before the last kill.
    """
    graph = {}
    for number in range(JOBS):
        layer = number // 8
        needs = {f"j{chance.randrange(8 * (layer - 1), 8 * layer)}" for _ in range(2)} if layer else set()
        pause = f"until test -e {release}; do sleep 0.2; done" if layer == 4 else f"sleep {chance.uniform(1, 18):.2f}"
        script = f"echo begin j{number} >> {diary}; {pause}; echo {number} > outputs/out; echo end j{number} >> {diary}"
        argv = ("sh", "-c", f"mkdir -p outputs; {script}")
        graph[f"j{number}"] = command(*argv, needs=tuple(sorted(needs)), outputs=("out",), cpus=0.5, memory_gib=0.05, wall_s=600)
    return graph  # type: ignore[return-value]


def test_a_server_killed_at_50_random_moments_loses_and_repeats_nothing(tmp_path: Path) -> None:
    data, diary, release, chance = tmp_path / "data", tmp_path / "diary", tmp_path / "release", random.Random(SEED)
    chosen = settings.load(data_folder=data, local_cpus=2, local_memory_gib=4)
    options = {"local_cpus": "2", "local_memory_gib": "4"}
    with platform.opened(chosen) as site:
        site.found()
        graph = submit(site, described(diary, release, chance))  # type: ignore[arg-type]
        kills_while_running = 0
        for _ in range(KILLS):
            server = ServerProcess(data, **options)
            if chance.random() < 0.7:
                server.ready()
            time.sleep(chance.uniform(0, 1.2))
            kills_while_running += any(job.state not in ENDS for job in graph_of(site, graph).values())
            server.kill()
        release.touch()
        server = ServerProcess(data, **options).ready()
        deadline = time.monotonic() + 240
        while any(job.state not in ENDS for job in graph_of(site, graph).values()):
            assert time.monotonic() < deadline, {name: (job.state, job.reason) for name, job in graph_of(site, graph).items()}
            time.sleep(0.1)
        assert server.stop() == 0

        seen = graph_of(site, graph)
        assert Counter(job.state for job in seen.values()) == {State.DONE: JOBS}
        assert {name: site.store.read(job.outputs["out"]).decode().strip() for name, job in seen.items()} == {
            f"j{number}": str(number) for number in range(JOBS)
        }
        lines = Counter(diary.read_text().splitlines())
        assert lines == {f"{what} j{number}": 1 for number in range(JOBS) for what in ("begin", "end")}
        with site.db.read() as connection:
            ledger.verify(connection)
            ends = Counter(entry.subject for entry in ledger.entries(connection, kind="job.done"))
            metered = Counter(entry.subject for entry in ledger.entries(connection, kind="usage.metered"))
        assert ends == {f"{graph}.j{number}": 1 for number in range(JOBS)}
        assert {key: metered[key] for key in (job.key for job in seen.values())} == {job.key: 1 for job in seen.values()}
        assert set(metered.values()) == {1}, "no attempt is metered twice"
        assert kills_while_running == KILLS
    assert processes_of(data) == []
