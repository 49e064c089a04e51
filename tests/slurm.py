"""A real Slurm for tests: controller, REST server and several nodes on this host, from Debian's packages, without systemd.

With accounting where it is asked for: a MariaDB and slurmdbd of its own too.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmrestd", "sbatch")
ACCOUNTING_PROGRAMS = ("mariadbd", "mariadb-install-db", "slurmdbd", "sacctmgr")
NODES = {"a1": "npu:ascend910b:4", "a2": "npu:ascend910b:4", "c1": ""}
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")

CONFIGURATION = """
ClusterName=headwater
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={folder}/jwt.key
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=10
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
GresTypes=npu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=3
SlurmdTimeout=5
SlurmctldTimeout=5
{nodes}
PartitionName=main Nodes=ALL Default=YES PriorityTier=10 MaxTime=INFINITE State=UP
PartitionName=urgent Nodes=ALL PriorityTier=100 PreemptMode=OFF MaxTime=INFINITE State=UP
"""
ACCOUNTING = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge/socket
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
"""
DATABASE_DAEMON = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
AuthAltTypes=auth/jwt
AuthAltParameters=jwt_key={folder}/jwt.key
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_accounting
"""


class Cluster:
    """A Slurm of this host's own. Start it once; stop it."""

    def __init__(self, folder: Path, *, accounting: bool = False) -> None:
        self.folder = folder
        self.accounting = accounting
        self.conf = folder / "slurm.conf"
        self.ports = free_ports(4 + len(NODES))
        self.url = f"http://127.0.0.1:{self.ports[1]}"
        self.token_file = folder / "token"
        self.key_file = folder / "jwt.key"
        self.database_ports = self.ports[-2:]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start every daemon and return once all nodes are idle."""
        self._lay_out()
        munge = self.folder / "munge"
        options = [f"--socket={munge}/socket", f"--key-file={munge}/key", f"--pid-file={munge}/pid"]
        self._run("munged", "munged", "--force", "--foreground", *options, f"--log-file={munge}/log", f"--seed-file={munge}/seed")
        self._until(lambda: (munge / "socket").exists(), "munged")
        if self.accounting:
            self._start_accounting()
        self.start_controller("-c")
        for node in NODES:
            self.start_node(node)
        self.settle()
        if self.accounting:
            self._until(lambda: "127.0.0.1" in self.command("sacctmgr", "-n", "list", "cluster"), "controller in accounting")
        self.token_file.write_text(self.command("scontrol", "token", "username=root", "lifespan=7200"))
        self.start_rest()

    def start_controller(self, *more: str) -> None:
        """Start slurmctld; `-c` forgets what it knew."""
        self._run("slurmctld", "slurmctld", "-D", "-f", str(self.conf), *more)
        self._until(lambda: "UP" in self.command("scontrol", "ping"), "slurmctld")

    def settle(self) -> None:
        """Return once all nodes are idle."""
        self._until(lambda: set(self.command("sinfo", "-h", "-o", "%T").split()) == {"idle"}, "idle nodes")

    def start_node(self, node: str) -> None:
        """Start the slurmd of a node."""
        self._run(node, "slurmd", "-D", "-f", str(self.conf), "-N", node)

    def start_rest(self) -> None:
        """Start slurmrestd, which must not run as root."""
        self._run(
            "slurmrestd",
            *NOBODY,
            "slurmrestd",
            "-s",
            "openapi/v0.0.38" + (",openapi/dbv0.0.38" if self.accounting else ""),
            "-a",
            "rest_auth/jwt",
            self.url.removeprefix("http://"),
            SLURM_JWT="daemon",
        )
        self._until(lambda: answers(self.ports[1]), "slurmrestd")

    def _start_accounting(self) -> None:
        """Start a MariaDB and slurmdbd, and make this cluster known to it."""
        data, sock, port = self.folder / "database", self.folder / "run" / "database.sock", self.database_ports[1]
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}", "--auth-root-authentication-method=socket"],
            check=True,
            capture_output=True,
        )
        (self.folder / "database.sql").write_text(
            "CREATE DATABASE slurm_accounting;\nCREATE USER slurm@'127.0.0.1' IDENTIFIED BY 'slurm';\n"
            "GRANT ALL ON slurm_accounting.* TO slurm@'127.0.0.1';\n"
        )
        options = ["--user=root", f"--datadir={data}", f"--socket={sock}", f"--port={port}", "--bind-address=127.0.0.1"]
        more = ["--skip-name-resolve", "--innodb-lock-wait-timeout=900", f"--init-file={self.folder}/database.sql"]
        self._run("mariadbd", "mariadbd", "--no-defaults", *options, *more)
        self._until(lambda: answers(port), "mariadbd")
        conf = self.folder / "slurmdbd.conf"
        told = {"host": socket.gethostname(), "port": self.database_ports[0], "database": port, "folder": self.folder}
        conf.write_text(DATABASE_DAEMON.format(**told))
        conf.chmod(0o600)
        self._run("slurmdbd", "slurmdbd", "-D")
        self._until(lambda: answers(self.database_ports[0]), "slurmdbd")
        self._until(lambda: "headwater" in self.command("sacctmgr", "-n", "-i", "list", "cluster"), "cluster in accounting", self._enter)

    def _enter(self) -> None:
        self.command("sacctmgr", "-i", "add", "cluster", "headwater")

    def kill(self, name: str) -> None:
        """Kill a daemon at once: `slurmctld`, `slurmrestd` or a node."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End all jobs and daemons."""
        if "slurmctld" in self.processes:
            self.command("scancel", "--user=root")
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def command(self, *argv: str) -> str:
        """Run one of Slurm's commands and return what it prints."""
        return subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False).stdout

    @property
    def environment(self) -> dict[str, str]:
        """What Slurm's commands need to find this cluster."""
        return {"PATH": os.environ["PATH"], "SLURM_CONF": str(self.conf)}

    def settings(self, kind: str) -> str:
        """Give the settings file of a platform that uses this cluster, over `rest` or by `commands`."""
        rest = f'slurm_url = "{self.url}"\nslurm_user = "root"\nslurm_token_file = "{self.token_file}"\n'
        told = "slurm = true\nslurm_partition = 'main'\n" + ("slurm_accounting = true\n" if self.accounting else "")
        return told + (rest if kind == "rest" else "")

    def _lay_out(self) -> None:
        for name in ("state", "run", "log", "munge", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        for one in (self.folder, *list(self.folder.parents)[:3]):
            one.chmod(one.stat().st_mode | 0o755)
        for key, size in (("munge/key", 1024), ("jwt.key", 32)):
            (self.folder / key).write_bytes(os.urandom(size))
            (self.folder / key).chmod(0o600)
        host = socket.gethostname()
        here = f"NodeHostname={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=512000"
        ports = dict(zip(NODES, self.ports[2:-2], strict=True))
        lines = [f"NodeName={node} {here} Port={ports[node]}" + (f" Gres={gres}" if gres else "") for node, gres in NODES.items()]
        accounting = ACCOUNTING.format(port=self.database_ports[0], folder=self.folder) if self.accounting else ""
        told = CONFIGURATION.format(host=host, ports=self.ports, folder=self.folder, nodes="\n".join(lines))
        self.conf.write_text(told + accounting)
        counted = [f"NodeName={node} Name=npu Type=ascend910b Count=4\n" for node, gres in NODES.items() if gres]
        (self.folder / "gres.conf").write_text("AutoDetect=off\n" + "".join(counted))

    def _run(self, name: str, *argv: str, **environment: str) -> None:
        everything = self.environment | environment
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(argv, env=everything, stdout=log, stderr=log, start_new_session=True)

    def _until(self, holds: Callable[[], bool], what: str, try_it: Callable[[], None] = lambda: None) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            try_it()
            assert time.monotonic() < deadline, f"{what}: not there after a minute; see {self.folder}/log"
            time.sleep(0.05)


def started(folder: Path, *, accounting: bool = False) -> Cluster:
    """Start a cluster in a folder, or skip the test where Slurm is not installed or this is not root."""
    needed = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    missing = [name for name in needed if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing:
        pytest.skip(f"Slurm is not installed: no {', '.join(missing)} (python3 dev.py system)")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of its own needs root, to start jobs as their users")
    cluster = Cluster(folder, accounting=accounting)
    try:
        cluster.start()
    except BaseException:
        cluster.stop()
        raise
    return cluster


def free_ports(count: int) -> list[int]:
    """Give ports of the loopback address that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(port: int) -> bool:
    """Tell whether someone listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
