"""A real `headwater up` in a process of its own, that a test may kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx


class ServerProcess:
    """One server on a data folder."""

    def __init__(self, data: Path, **settings: str) -> None:
        environment = os.environ | {f"HEADWATER_{name.upper()}": value for name, value in settings.items()}
        command = [sys.executable, "-m", "headwater", "up", "--data", str(data), "--port", "0", "--json"]
        self.log = (data.parent / "server.log").open("ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=environment)
        self.address = ""

    def ready(self, within_s: float = 60.0) -> ServerProcess:
        """Wait until it answers."""
        assert self.process.stdout is not None
        text = b""
        while not text.rstrip().endswith(b"}"):
            line = self.process.stdout.readline()
            assert line, f"the server ended before it was up: {Path(self.log.name).read_text(errors='replace')[-2000:]}"
            text += line
        self.address = json.loads(text)["address"]
        deadline = time.monotonic() + within_s
        while True:
            try:
                if httpx.get(f"{self.address}/health", timeout=2, trust_env=False).is_success:
                    return self
            except httpx.TransportError:
                assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as a power cut or the kernel would."""
        self.process.send_signal(signal.SIGKILL)
        self._over()

    def stop(self) -> int:
        """Ask it to end, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        self._over()
        return self.process.returncode

    def _over(self) -> None:
        self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()


def processes_of(data: Path) -> list[str]:
    """Return the command lines of all processes that work below a data folder: attempts, their runners, their children."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes() + os.readlink(entry / "cwd").encode()
        except OSError:
            continue
        if str(data).encode() in told:
            found.append(
                (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") if (entry / "cmdline").exists() else "?"
            )
    return found
