"""What Slurm's states mean for an attempt where its runner left no `exit.json`, or says only that it was told to go. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from headwater.compute.engines.slurm_client import SlurmJob
from headwater.compute.work import Observation, Phase, Reason

ACTIVE = frozenset({
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "REQUEUED",
})  # fmt: skip
ENDINGS: Mapping[str, tuple[Phase, Reason, str]] = {
    "TIMEOUT": (Phase.FAILED, Reason.OUT_OF_TIME, "Slurm ended the job at its time limit."),
    "DEADLINE": (Phase.FAILED, Reason.OUT_OF_TIME, "Slurm ended the job at its deadline."),
    "OUT_OF_MEMORY": (Phase.FAILED, Reason.OUT_OF_MEMORY, "Slurm ended the job for its memory."),
    "CANCELLED": (Phase.FAILED, Reason.CANCELLED, "The job was cancelled in Slurm."),
    "PREEMPTED": (Phase.LOST, Reason.PREEMPTED, "Slurm stopped the job for one with precedence."),
    "NODE_FAIL": (Phase.LOST, Reason.NODE_LOST, "Slurm lost the job's node."),
    "BOOT_FAIL": (Phase.LOST, Reason.NODE_LOST, "The job's node did not start."),
}
NOT_LAUNCHED = "Slurm gave the job a node that could not launch it; its room was given back."
LAUNCH_FAILED = "launch failed"
"""How Slurm's reason begins for a job that it holds because a node could not launch it."""
NEVER = frozenset({
    "AccountNotAllowed", "AccountingPolicy", "BadConstraints", "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS",
    "PartitionNodeLimit", "PartitionTimeLimit", "QOSNotAllowed",
})  # fmt: skip
"""Reasons for waiting that pass only where an operator changes something."""


def ending(job: SlurmJob, *, began: bool, asked: bool, log: str) -> Observation:
    """Return what became of a job that has ended; `began` is whether its runner did, `asked` whether it was to be cancelled here."""
    state = "PREEMPTED" if job.preempted else job.state  # a runner that was told to go ends well: Slurm calls that completed
    if state == "CANCELLED" and job.placed and not began and not asked:
        return Observation(phase=Phase.LOST, reason=Reason.NODE_LOST, message=NOT_LAUNCHED)
    unknown = Phase.LOST, Reason.NODE_LOST, f"Slurm's state is {job.state}: {log}"
    phase, reason, message = ENDINGS.get(state, unknown)
    return Observation(phase=phase, reason=reason, message=message)


def hopeless(job: SlurmJob) -> Observation | None:
    """Return what to make of a job that waits for what never comes, None for one that may start."""
    if job.state != "PENDING":
        return None
    if job.reason.lower().startswith(LAUNCH_FAILED):
        return Observation(phase=Phase.LOST, reason=Reason.NODE_LOST, message=NOT_LAUNCHED)
    if job.reason in NEVER:
        told = f"Slurm would never have started the job ({job.reason}), so it was cancelled there."
        return Observation(phase=Phase.FAILED, reason=Reason.FAILED, message=told)
    return None
