"""Where a job's checkpoints lie: at hand for the engine that runs its next attempt, whole, and gone when the job is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from headwater.compute import checkpoints
from headwater.compute.checkpoints import ELSEWHERE
from headwater.compute.jobs import Job
from headwater.core.platform import Platform
from tests.flow.compute.graphs import command, graph_of, submit


@pytest.fixture
def job(site: Platform) -> Job:
    """Give a job that makes checkpoints, as a new one that has started."""
    found = graph_of(site, submit(site, {"a": command("true", checkpoint_s=0.0)}))["a"]
    return replace(found, started_at=site.clock.now())


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """Give the folders that two engines keep checkpoints in."""
    made = tmp_path / "north" / ELSEWHERE, tmp_path / "south" / ELSEWHERE
    for one in made:
        one.mkdir(parents=True)
    return made


def test_checkpoints_follow_a_job_from_engine_to_engine_and_home(site: Platform, job: Job, roots: tuple[Path, Path]) -> None:
    first = checkpoints.folder_for(site, job)
    assert first is not None
    (first / "part").mkdir()
    (first / "part" / "n").write_text("17")
    (first / "latest").symlink_to("part")
    for root in (*roots, None, roots[0]):
        folder = checkpoints.folder_for(site, job, root)
        assert folder is not None
        assert folder.parent == (root or first.parent)
        assert not folder.is_symlink()
        assert (folder / "latest" / "n").read_text() == "17"
        assert checkpoints.folder_for(site, job, root) == folder
        assert checkpoints.kept_s(site, job, site.clock.now()) > 0
        assert [path for one in (*roots, first.parent) for path in one.iterdir() if not path.is_symlink()] == [folder]
    checkpoints.remove(site, job)
    assert [path for one in (*roots, first.parent) for path in one.iterdir()] == []


def test_what_a_lost_attempt_keeps_is_copied_to_where_the_next_one_sees_it(site: Platform, job: Job, roots: tuple[Path, Path]) -> None:
    old = checkpoints.folder_for(site, job, roots[0])
    assert old is not None
    (old / "n").write_text("17")
    assert checkpoints.carried_over(site, job) >= 0
    (old / "n").write_text("the lost attempt goes on")
    moved = replace(job, moves=1)
    new = checkpoints.folder_for(site, moved, roots[1])
    assert new is not None
    assert (new / "n").read_text() == "17"
    checkpoints.remove(site, moved)
    assert [path for root in roots for path in root.iterdir()] == []


def test_nothing_is_copied_or_removed_through_a_jobs_own_link(site: Platform, job: Job, roots: tuple[Path, Path], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("the platform's own")
    folder = checkpoints.folder_for(site, job)
    assert folder is not None
    (folder / "link").symlink_to(secret / "key")
    (folder / "folder").symlink_to(secret)
    brought = checkpoints.folder_for(site, job, roots[0])
    assert brought is not None
    assert (brought / "link").is_symlink()
    assert (brought / "folder").is_symlink()
    brought.rename(tmp_path / "aside")
    brought.symlink_to(secret)
    checkpoints.remove(site, job)
    assert not brought.is_symlink()
    laid = checkpoints.folder_for(site, job)
    assert laid is not None
    laid.rmdir()
    laid.symlink_to(secret)
    assert checkpoints.folder_for(site, job, roots[1]) == roots[1] / job.id
    assert list((roots[1] / job.id).iterdir()) == []
    checkpoints.remove(site, job)
    assert (secret / "key").read_text() == "the platform's own"
