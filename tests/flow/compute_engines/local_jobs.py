"""A local engine under test, and commands to run on it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.compute.engines.local import LocalEngine
from headwater.compute.work import Capacity, Observation, Phase, Work
from headwater.core.steps import Resources
from headwater.core.store import Store


class Jobs:
    """A local engine in a folder, with half a second of grace."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.engine = self.opened()

    def opened(self) -> LocalEngine:
        return LocalEngine(
            root=self.root / "jobs", store=Store(self.root / "artifacts"), capacity=Capacity(cpus=2, memory_gib=4), grace_s=0.5
        )

    def start(self, key: str, *argv: str, environment: Mapping[str, str] | None = None, **resources: Any) -> Path:
        """Submit a command and give its folder."""
        self.engine.submit(Work(key=key, argv=argv, environment=environment or {}, resources=Resources(**resources)))
        return self.engine.folder(key)

    def ended(self, key: str) -> Observation:
        """Give what became of an attempt."""
        last_s = time.monotonic() + 30
        while (observation := self.engine.poll([key])[key]).phase is Phase.RUNNING:
            assert time.monotonic() < last_s, f"{key} is still running"
            self.engine.wait(0.2)
        return observation

    def run(self, key: str, *argv: str, **resources: Any) -> Observation:
        """Run a command to its end."""
        self.start(key, *argv, **resources)
        return self.ended(key)

    def log(self, key: str) -> str:
        return (self.engine.folder(key) / "log.txt").read_text(errors="replace")

    def runner(self, key: str) -> int:
        """Give the number of an attempt's runner, once it is there."""
        told = self.engine.folder(key) / "runner.json"
        appears(told)
        return int(json.loads(told.read_text())["pid"])


def appears(path: Path) -> None:
    """Return once a file is there."""
    last_s = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < last_s, f"{path} did not appear"
        time.sleep(0.005)


def processes_of(marker: str) -> list[str]:
    """Give the command lines of all processes whose arguments hold a text, zombies left out."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if marker in command and int(name) != os.getpid():
            found.append(command)
    return found


def zombies() -> list[str]:
    """Give this process's children that have ended and were not waited for."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            program, _, rest = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")
            state, parent = rest.split()[:2]
        except (OSError, ValueError):
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.append(program)
    return found


def cpu_s_of(pid: int) -> float:
    """Give the CPU seconds of one process, 0 where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
