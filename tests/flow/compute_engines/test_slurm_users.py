"""Each person's jobs are their own in Slurm: another Unix account, and folders that no other can look into."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from slurm_jobs import begun, ended, opened, shell, until
from tests.slurm import Cluster

from headwater.compute.engines.slurm_commands import CommandClient
from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.engines.slurm_rest import RestClient
from headwater.compute.engines.slurm_users import Tokens, Users
from headwater.compute.work import Phase, Work
from headwater.core.errors import BadInput, Unavailable

PYTHON = sys.executable
if subprocess.run(["runuser", "-u", "nobody", "--", PYTHON, "-I", "-S", "-c", ""], capture_output=True, check=False).returncode:
    PYTHON = "/usr/bin/python3"  # this one lies where only its own user gets
PEOPLE = (f"hw{os.getpid()}-chen", f"hw{os.getpid()}-li")


@pytest.fixture(scope="module")
def people(cluster: Cluster) -> Iterator[tuple[str, ...]]:
    """Make two Unix accounts, and remove them."""
    for name in PEOPLE:
        subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True, capture_output=True)
    cluster.command("scontrol", "reconfigure")
    yield PEOPLE
    for name in PEOPLE:
        cluster.command("scancel", f"--user={name}")
        subprocess.run(["userdel", name], check=True, capture_output=True)


@pytest.fixture(params=["rest", "commands"])
def engine(
    request: pytest.FixtureRequest, cluster: Cluster, people: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SlurmEngine]:
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(folder.stat().st_mode | 0o711)
    client = CommandClient() if request.param == "commands" else RestClient(cluster.url, Tokens("root", key_file=cluster.key_file))
    users = Users({"Chen Wei": people[0], "city/haidian": people[1], "city/yizhuang": "{person}", "city/root": "root"})
    made = opened(cluster, tmp_path, client=client, users=users, python=PYTHON)
    yield made
    for key in made.sweep(()):
        until(made, key, lambda seen: seen.phase is not Phase.RUNNING)
    made.close()


def of(work: Work, person: str, organisation: str) -> Work:
    return replace(work, person=person, organisation=organisation)


def test_each_job_runs_in_slurm_as_its_person(engine: SlurmEngine, cluster: Cluster, people: tuple[str, ...]) -> None:
    engine.submit(of(shell("chen", "id -un; exec sleep 30"), "Chen Wei", "city/haidian"))
    engine.submit_all([of(shell(f"li-{number}", "id -un; exec sleep 30"), "Li Na", "city/haidian/team") for number in range(2)])
    for key in ("chen", "li-0", "li-1"):
        begun(engine, key)
    assert sorted(cluster.command("squeue", "-h", "-t", "R", "-o", "%u").split()) == [people[0], people[1], people[1]]
    for key in ("chen", "li-0", "li-1"):
        engine.cancel(key)
        ended(engine, key)
    assert [(engine.folder(key) / "log.txt").read_text().strip() for key in ("chen", "li-1")] == list(people)


def test_a_person_whose_name_is_their_account_runs_as_that(engine: SlurmEngine, people: tuple[str, ...]) -> None:
    engine.submit(of(shell("own", "id -un"), people[1], "city/yizhuang"))
    assert ended(engine, "own").phase is Phase.SUCCEEDED
    assert (engine.folder("own") / "log.txt").read_text().strip() == people[1]


def test_a_job_cannot_read_the_folder_of_another_persons(engine: SlurmEngine) -> None:
    engine.submit(of(shell("secret", "echo 机密 > outputs/secret; cat outputs/secret"), "Chen Wei", "city/haidian"))
    assert ended(engine, "secret").phase is Phase.SUCCEEDED
    other = engine.folder("secret")
    script = f"cat {other}/outputs/secret; cat {other}/log.txt; ls {other}; ls {other.parent}; echo none > {other}/x; true"
    engine.submit(of(shell("spy", script), "Li Na", "city/haidian"))
    assert ended(engine, "spy").phase is Phase.SUCCEEDED
    log = (engine.folder("spy") / "log.txt").read_text()
    assert log.count("Permission denied") + log.count("Permission non accordée") == 5
    assert "机密" not in log
    assert "机密" in (other / "log.txt").read_text()  # the platform reads both


def test_who_has_no_account_is_refused_and_told_why(engine: SlurmEngine) -> None:
    with pytest.raises(BadInput, match=r"'Wang' of 'city/chaoyang' has no account on this Slurm"):
        engine.submit(of(shell("nobody", "true"), "Wang", "city/chaoyang"))
    assert not engine.folder("nobody").exists()


@pytest.mark.parametrize(
    ("person", "organisation"),
    [("root", "city/yizhuang"), ("Wang", "city/root"), ("../x", "city/yizhuang"), ("nobody-here", "city/yizhuang")],
)
def test_nobody_becomes_root_or_what_is_no_account(engine: SlurmEngine, person: str, organisation: str) -> None:
    with pytest.raises(BadInput, match="account"):
        engine.submit(of(shell("root", "true"), person, organisation))


def test_a_job_cannot_have_the_platform_write_through_a_link(engine: SlurmEngine, tmp_path: Path) -> None:
    target = tmp_path / "target"
    engine.submit(
        of(
            shell("link", f"ln -s {target} cancel; ln -s {target} exit.json.part; until [ -e go ]; do sleep 0.1; done"),
            "Chen Wei",
            "city/haidian",
        )
    )
    begun(engine, "link")
    until(engine, "link", lambda _: (engine.folder("link") / "cancel").is_symlink())
    engine.cancel("link")
    (engine.folder("link") / "go").touch()
    ended(engine, "link")
    engine.forget("link")
    assert not target.exists()


def test_without_slurms_key_nobody_is_spoken_for(cluster: Cluster) -> None:
    with pytest.raises(Unavailable, match="Set slurm_jwt_key"):
        Tokens("root", file=cluster.token_file).headers("hw-test-chen")
