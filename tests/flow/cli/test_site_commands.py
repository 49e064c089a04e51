"""`headwater site`: a register that a person keeps from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def headwater(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headwater", *words, "--data", str(folder / "data"), "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_site_is_registered_checked_used_drained_and_removed(tmp_path: Path) -> None:
    added = headwater(
        tmp_path, "site", "add", "hall-b", "--engine", "local", "-o", "cpus=2", "-o", "memory_gib=1", "-o", "accelerators={h20=2}"
    )
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["options"] == {"cpus": 2.0, "memory_gib": 1.0, "accelerators": {"h20": 2}}
    checked = headwater(tmp_path, "site", "check", "hall-b")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["works"]
    command = [sys.executable, "-m", "headwater", "job", "submit", "--data", str(tmp_path / "data"), "--engine", "any", "--json"]
    ran = subprocess.run([*command, "--accelerator", "h20=2", "--", "true"], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    (listed,) = [one for one in json.loads(headwater(tmp_path, "site", "list").stdout) if one["name"] == "hall-b"]
    assert (listed["standing"], listed["accelerators"]) == ("active", {"h20": 2})
    assert json.loads(headwater(tmp_path, "site", "drain", "hall-b", "--why", "new cooling").stdout)["order"] == "drain"
    assert json.loads(headwater(tmp_path, "site", "open", "hall-b").stdout)["order"] == "open"
    assert headwater(tmp_path, "site", "remove", "hall-b").returncode == 0
    again = headwater(tmp_path, "site", "remove", "hall-b")
    assert again.returncode != 0
    assert "No site 'hall-b' is registered" in again.stderr


def test_what_a_person_gets_wrong_is_said(tmp_path: Path) -> None:
    wrong = headwater(tmp_path, "site", "add", "hall-b", "--engine", "local", "-o", "cpus=many")
    assert wrong.returncode != 0
    assert "memory_gib: Field required" in wrong.stderr
    assert "'cpus' is no option" in headwater(tmp_path, "site", "add", "hall-b", "--engine", "local", "-o", "cpus").stderr
    assert "No sites can be registered with an engine 'platform'" in headwater(tmp_path, "site", "add", "x", "--engine", "platform").stderr
