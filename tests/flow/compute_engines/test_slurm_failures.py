"""What Slurm would leave lying: jobs that a node could not launch, and jobs that wait for what never comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_jobs import ended, opened, shell
from tests.slurm import Cluster

from headwater.compute.engines.slurm_commands import CommandClient
from headwater.compute.work import Phase, Reason


@pytest.fixture
def broken_nodes(cluster: Cluster) -> Iterator[None]:
    """Have every node fail to launch jobs, until the test is over."""
    prolog = cluster.folder / "prolog"
    prolog.write_text("#!/bin/sh\nexit 1\n")
    prolog.chmod(0o755)
    before = cluster.conf.read_text()
    cluster.conf.write_text(f"{before}Prolog={prolog}\n")
    cluster.command("scontrol", "reconfigure")
    yield
    cluster.conf.write_text(before)
    cluster.command("scontrol", "reconfigure")
    cluster.command("scontrol", "update", "nodename=a1,a2,c1", "state=resume")
    cluster.settle()


@pytest.mark.parametrize("way", ["rest", "commands"])
def test_a_job_that_its_node_cannot_launch_is_lost_and_leaves_nothing_in_slurm(
    broken_nodes: None, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    engine = opened(cluster, tmp_path, client=CommandClient() if way == "commands" else None)
    engine.submit(shell("fails", "true"))
    seen = ended(engine, "fails")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert "could not launch it" in seen.message
    assert cluster.command("squeue", "-h", "-o", "%i").split() == []
    engine.close()


def test_a_job_that_waits_for_what_never_comes_is_ended_with_slurms_reason(cluster: Cluster, tmp_path: Path) -> None:
    cluster.command("scontrol", "create", "partitionname=later", "nodes=ALL", "state=down", "maxtime=infinite")
    engine = opened(cluster, tmp_path, "later", stuck_s=1.0)
    engine.submit(shell("long", "true", wall_s=3600.0))
    cluster.command("scontrol", "update", "partitionname=later", "maxtime=1", "state=up")
    seen = ended(engine, "long")
    assert (seen.phase, seen.reason) == (Phase.FAILED, Reason.FAILED)
    assert "PartitionTimeLimit" in seen.message
    assert cluster.command("squeue", "-h", "-o", "%i").split() == []
    engine.close()


def test_a_job_that_slurm_calls_running_and_whose_runner_never_begins_is_lost_and_leaves_nothing(cluster: Cluster, tmp_path: Path) -> None:
    deaf = tmp_path / "python"
    deaf.write_text("#!/bin/sh\nexec sleep 300\n")
    deaf.chmod(0o755)
    engine = opened(cluster, tmp_path, stuck_s=1.0, python=str(deaf))
    engine.submit(shell("silent", "true"))
    seen = ended(engine, "silent")
    assert (seen.phase, seen.reason) == (Phase.LOST, Reason.NODE_LOST)
    assert cluster.command("squeue", "-h", "-o", "%i").split() == []
    engine.close()
