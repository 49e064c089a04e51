"""Slurm by its commands, here or on a login node through ssh."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from headwater.compute.engines.slurm_accounting import FIELDS, accounted_of
from headwater.compute.engines.slurm_client import TIMEOUT_S, Accounted, SlurmJob, SlurmNode, Submission, indices, jobs_of, node_of, refusal
from headwater.core.errors import BadInput, Unavailable


class CommandClient:
    """Slurm by `sbatch`, `squeue --json`, `sinfo --json`, `scancel` and `sacct`, here or on a login node through ssh."""

    def __init__(self, *, login: str = "") -> None:
        """Use the commands of this machine, or of `user@host` by ssh without asking for passwords."""
        self._login = login

    def submit(self, asked: Submission) -> str:
        """See `SlurmClient.submit`."""
        options = [
            f"--job-name={asked.name}",
            f"--chdir={asked.folder}",
            f"--output={asked.log}",
            "--open-mode=append",
            f"--cpus-per-task={asked.cpus}",
            f"--mem={asked.memory_mib}M",
            f"--time={asked.minutes}",
            "--no-requeue",
        ]
        options += [f"--{name}={value}" for name, value in (("partition", asked.partition), ("account", asked.account)) if value]
        if asked.elements:
            options.append(f"--array={indices(asked)}")
        if asked.gres:
            options.append("--gres=" + ",".join(f"{one}:{count}" for one, count in asked.gres))
        told = self._run(["sbatch", "--parsable", *options], asked.script, user=asked.user)
        return told.strip().split(";")[0]

    def jobs(self) -> Sequence[SlurmJob]:
        """See `SlurmClient.jobs`."""
        return jobs_of(self._listed(["squeue", "--json", "--states=all"], "jobs"))

    def cancel(self, job: str, *, user: str = "") -> None:
        """See `SlurmClient.cancel`."""
        try:
            self._run(["scancel", job], user=user)
        except BadInput:
            return  # it has ended, or the controller has forgotten it

    def widen(self, array: str, *, user: str = "") -> None:
        """See `SlurmClient.widen`."""
        try:
            self._run(["scontrol", "update", f"JobId={array}", "ArrayTaskThrottle=0"], user=user)
        except BadInput:
            return  # it has ended, or the controller has forgotten it

    def nodes(self) -> Sequence[SlurmNode]:
        """See `SlurmClient.nodes`."""
        return [node_of(one) for one in self._listed(["sinfo", "--json"], "nodes")]

    def accounted(self, jobs: Collection[str]) -> Mapping[str, Accounted]:
        """See `SlurmClient.accounted`."""
        if not jobs:
            return {}
        return accounted_of(self._run(["sacct", "-n", "-P", "--noconvert", "-j", ",".join(sorted(jobs)), f"--format={','.join(FIELDS)}"]))

    def close(self) -> None:
        """Nothing is held."""

    def _listed(self, argv: Sequence[str], part: str) -> Sequence[Any]:
        text = self._run(argv)
        try:
            found = json.loads(text)[part]
        except (ValueError, KeyError) as error:
            raise Unavailable(f"{argv[0]} --json told no {part}.", "Headwater needs Slurm 21.08 or newer.") from error
        return list(found)

    def _run(self, argv: Sequence[str], text: str = "", *, user: str = "") -> str:
        command = self._as(user, argv)
        environment = {name: os.environ[name] for name in ("PATH", "SLURM_CONF", "HOME", "SSH_AUTH_SOCK") if name in os.environ}
        environment["SLURM_BITSTR_LEN"] = "0"  # else squeue cuts the indices of waiting elements short
        try:
            done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False)
        except FileNotFoundError as error:
            raise Unavailable(
                f"The command {command[0]} is not here.", "Install Slurm's client, or set slurm_url or slurm_login."
            ) from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"{argv[0]} did not answer within {TIMEOUT_S:g} s.", "Check the controller.") from error
        if done.returncode:
            raise refusal(done.stderr.strip()[-500:] or f"status {done.returncode}", argv[0])
        return done.stdout

    def _as(self, user: str, argv: Sequence[str]) -> list[str]:
        """Return the command as that Unix account: by ssh as it, or here by `runuser` as root and by `sudo` otherwise."""
        if self._login:
            login = f"{user}@{self._login.rpartition('@')[2]}" if user else self._login
            return ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", login, shlex.join(argv)]
        if not user:
            return list(argv)
        return [*(("runuser", "-u", user, "--") if os.geteuid() == 0 else ("sudo", "-n", "-u", user, "--")), *argv]
