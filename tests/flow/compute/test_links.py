"""What a job lays down as a link or a pipe is no file of its own: nobody is shown, and nothing is stored, what lies behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.compute import views
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import Job, State
from headwater.core import progress
from headwater.core.errors import NotFound
from headwater.core.plain_file import plain
from headwater.core.platform import Platform
from tests.flow.compute.graphs import command, ended, submit

SECRET = "the platform's own"


@pytest.fixture
def secret(site: Platform, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "kept").write_text(SECRET, encoding="utf-8")
    dispatcher = Dispatcher(site)
    dispatcher.start()
    yield tmp_path / "secret"
    dispatcher.stop()


def ran(site: Platform, script: str, outputs: tuple[str, ...] = ()) -> Job:
    return ended(site, submit(site, {"a": command("sh", "-c", script, outputs=outputs)}))["a"]


def test_a_log_that_a_job_made_a_link_is_not_shown(site: Platform, secret: Path) -> None:
    job = ran(site, f"rm log.txt; ln -s {secret}/kept log.txt")
    assert views.log_chunk(site, job, offset=0).text == ""
    assert views.tail_offset(site, job, lines=5) == 0
    with pytest.raises(NotFound, match="There is no log of attempt 1"):
        views.log_file(site, job)


@pytest.mark.parametrize("script", ["rmdir outputs; ln -s {secret} outputs", "ln -s {secret}/kept outputs/kept"])
def test_an_output_that_leads_out_is_refused(site: Platform, secret: Path, script: str) -> None:
    job = ran(site, script.format(secret=secret), outputs=("kept",))
    assert job.state is State.REFUSED
    assert not job.outputs
    assert "outside its outputs folder" in job.reason


def test_a_pipe_in_place_of_a_file_holds_nobody_up(site: Platform, secret: Path) -> None:
    job = ran(site, "mkfifo progress.jsonl; rm log.txt; mkfifo log.txt")
    assert job.state is State.DONE
    assert progress.last(views.attempt_folder(site, job) / progress.FILE) is None
    assert views.log_chunk(site, job, offset=0).text == ""
    assert secret.exists()


def test_a_plain_file_is_read_and_a_device_is_not(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"told")
    with plain(tmp_path / "a") as file:
        assert file.read() == b"told"
    with pytest.raises(FileNotFoundError):
        plain(Path("/dev/zero"))
