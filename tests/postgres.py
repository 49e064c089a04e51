"""A real PostgreSQL for tests, of this host's own, that may be killed and started again."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pg8000.exceptions
import pg8000.native
import pytest


class Postgres:
    """One server on the loopback address. Start it; stop it. Skips the test where PostgreSQL is not installed.

    Its folder is not among the tests': the server runs as another user, whom a test beside this one may shut out of those.
    """

    def __init__(self) -> None:
        installed = shutil.which("postgres")
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin")) + ([str(Path(installed).parent)] if installed else [])
        if not programs:
            pytest.skip("PostgreSQL is not installed (python3 dev.py system)")
        self.folder, self.programs = Path(tempfile.mkdtemp(prefix="headwater-postgres-")), programs[-1]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"postgresql+pg8000://headwater@127.0.0.1:{self.port}"
        self._as_user: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(self.folder, "postgres")
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        asked = [*self._as_user, f"{self.programs}/initdb", "-D", str(self.folder / "data"), "-U", "headwater", "-A", "trust"]
        made = subprocess.run(asked, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return once it answers; after a kill it recovers first."""
        options = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        asked = [*self._as_user, f"{self.programs}/postgres", "-D", str(self.folder / "data"), *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(asked, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, "PostgreSQL ended at once"
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            pg8000.native.Connection("headwater", host="127.0.0.1", port=self.port, database="postgres", timeout=5).close()
        except (pg8000.exceptions.InterfaceError, pg8000.exceptions.DatabaseError):  # not there, or still starting
            return False
        return True

    def kill(self) -> None:
        """End it as a crash would: without a checkpoint, all connections cut."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """End it fast, and remove what it kept; open connections are ended."""
        self._end(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
