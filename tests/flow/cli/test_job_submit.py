"""`headwater job submit`: one command or an array of it, without a project file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.cli.submitting import chips, elements, short_name
from headwater.core.errors import BadInput


def submitted(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headwater", "job", "submit", "--data", str(folder / "data"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_command_runs_to_its_end_and_its_failure_is_the_commands(tmp_path: Path) -> None:
    done = submitted(tmp_path, "--json", "--", "sh", "-c", "echo here")
    assert done.returncode == 0, done.stderr
    assert [job["state"] for job in json.loads(done.stdout)] == ["done"]
    failed = submitted(tmp_path, "--", "sh", "-c", "echo broken >&2; exit 3")
    assert failed.returncode == 1
    assert "broken" in failed.stdout + failed.stderr


def test_each_element_of_an_array_gets_its_number(tmp_path: Path) -> None:
    done = submitted(
        tmp_path, "--array", "0-2,7", "--cpus", "0.1", "--memory", "0.1", "--json", "--", "sh", "-c", f"echo x > {tmp_path}/made-{{index}}"
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 4
    assert sorted(path.name for path in tmp_path.glob("made-*")) == ["made-0", "made-1", "made-2", "made-7"]


@pytest.mark.parametrize("text", ["", "a", "5-2", "1,1", "0-2000", "-3", "1-", "0-1999,2000-2001"])
def test_a_wrong_array_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        elements(text)


def test_words_become_what_a_project_file_holds() -> None:
    assert elements(None) is None
    assert elements("3, 5-7") == [3, 5, 6, 7]
    assert chips(["h20=8"]) == {"h20": 8}
    with pytest.raises(BadInput, match="h20=8"):
        chips(["h20"])
    assert short_name("/usr/bin/Python3.11") == "python3-11"
    assert short_name("./7z") == "command"
