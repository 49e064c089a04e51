"""A real Ray for tests: a head and several nodes on this host, each at a loopback address of its own, with a token."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.slurm import free_ports

HEAD = "127.0.0.2"
NODES = {"a1": "127.0.1.1", "a2": "127.0.1.2"}
CHIP, CHIPS_PER_NODE, CPUS_PER_NODE = "ascend910b", 4, 8
MEMORY_BYTES = 64 << 30
"""Declared, and only counted by Ray: jobs hold to their own limits."""
START_S = 12
"""Longest that a job may wait for its start."""


class Cluster:
    """A Ray of this host's own. Start it once; stop it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # short: Ray keeps sockets there
        self.token_file = folder / "token"
        self.port, dashboard, self.client_port = free_ports(3)
        self.url = f"http://127.0.0.1:{dashboard}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start every node and return once all are up."""
        self.token_file.write_text(secrets.token_hex(32))
        self.token_file.chmod(0o600)
        self.start_head()
        for node in NODES:  # one after another: two that start on one machine at once may choose the same socket
            self.start_node(node)

    def start_head(self) -> None:
        """Start the head, with its dashboard on the loopback address."""
        ports = {"port": self.port, "dashboard-port": self.url.rpartition(":")[2], "ray-client-server-port": self.client_port}
        options = [f"--{name}={port}" for name, port in ports.items()]
        self._run("head", HEAD, "--head", f"--temp-dir={self.folder}", "--num-cpus=2", "--dashboard-host=127.0.0.1", *options)
        self._until(lambda: bool(self.listed("nodes")), "the head")

    def start_node(self, name: str) -> None:
        """Start a node and return once it is up."""
        self._until(lambda: not self.has(name), f"the end of {name}")
        chips = json.dumps({CHIP: CHIPS_PER_NODE})
        self._run(name, NODES[name], f"--address={HEAD}:{self.port}", f"--num-cpus={CPUS_PER_NODE}", f"--resources={chips}")
        self._until(lambda: self.has(name), name)

    def kill(self, name: str) -> None:
        """Kill a node with everything that Ray started on it, as a machine that fails does; jobs' own processes are left."""
        process = self.processes.pop(name)
        for pid in [process.pid, *self._of(name)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End all nodes and what is left of them, and remove their files."""
        for process in self.processes.values():
            process.terminate()
        for name, process in list(self.processes.items()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            if process.poll() is None:
                self.kill(name)
        for name in ("head", *NODES):
            for pid in self._of(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *argv: str) -> str:
        """Run one of Ray's own commands and return what it prints."""
        command = [sys.executable, "-m", "ray.scripts.scripts", *argv]
        return subprocess.run(command, env=self._environment("command"), capture_output=True, text=True, check=False).stdout

    def listed(self, what: str) -> list[dict[str, object]]:
        """Give Ray's own list of `nodes` or `placement_groups`."""
        told = self._get(f"/api/v0/{what}?detail=1")
        return list(told["data"]["result"]["result"]) if told else []

    def has(self, name: str) -> bool:
        """Tell whether Ray counts a node as up."""
        return any(node["node_ip"] == NODES[name] and node["state"] == "ALIVE" for node in self.listed("nodes"))

    def jobs(self) -> dict[str, str]:
        """Give the state of every job that Ray remembers, by id."""
        told = self._get("/api/jobs/") or []
        return {job["submission_id"]: job["status"] for job in told if job["submission_id"]}

    def settings(self) -> str:
        """Give the settings file of a platform that uses this cluster."""
        return f'ray_url = "{self.url}"\nray_token_file = "{self.token_file}"\n'

    def _get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token_file.read_text()}"}
        try:
            return httpx.get(self.url + path, headers=headers, timeout=5, trust_env=False).raise_for_status().json()
        except httpx.HTTPError:
            return None

    def _environment(self, name: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "HW_NODE": f"{self.folder.name}-{name}",  # several nodes share this machine
            "RAY_ADDRESS": f"{HEAD}:{self.port}",
            "RAY_AUTH_MODE": "token",  # Ray listens on every address, whatever it is told
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_JOB_START_TIMEOUT_SECONDS": str(START_S),
            "RAY_health_check_period_ms": "500",
            "RAY_health_check_failure_threshold": "4",
            "RAY_prestart_worker_first_driver": "0",
        }

    def _run(self, name: str, address: str, *options: str) -> None:
        port = free_ports(1)[0]  # where Ray would take the same on every node; the others are its own to pick
        own = [f"--node-ip-address={address}", f"--dashboard-agent-listen-port={port}", *options]
        sizes = [f"--memory={MEMORY_BYTES}", "--object-store-memory=80000000", "--num-gpus=0"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *own, *sizes]
        environment = {name: value for name, value in self._environment(name).items() if name != "RAY_ADDRESS"}
        with (self.folder / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*command, "--min-worker-port=0", "--max-worker-port=0", "--include-log-monitor=false"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _of(self, name: str) -> list[int]:
        """Give the processes that a node started: those whose environment names it."""
        mark = f"HW_NODE={self.folder.name}-{name}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in process.read_bytes().split(b"\0"):
                    found.append(int(process.parent.name))
        return found

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 90
        while not holds():
            gone = [name for name, process in self.processes.items() if process.poll() is not None]
            said = [(self.folder / f"{name}.out").read_text()[-2000:] for name in gone or self.processes]
            assert not gone, f"{what}: not there; {said}"
            assert time.monotonic() < deadline, f"{what}: not there; {said}"
            time.sleep(0.1)


def started() -> Cluster:
    """Start a cluster in a folder of its own, or skip the test where Ray is not installed."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed (python3 dev.py test --engines)")
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="hw-ray-")))
    try:
        cluster.start()
    except BaseException:
        cluster.stop()
        raise
    return cluster
