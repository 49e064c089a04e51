"""Each person's jobs are their own in Slurm: another Unix account, and folders that no other can look into."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from slurm_jobs import begun, ended, is_shared, opened, shell, until, until_text
from sqlalchemy import Connection
from tests.flow.compute import graphs
from tests.slurm import Cluster

from headwater.compute import jobs
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.engines.slurm_commands import CommandClient
from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.engines.slurm_rest import RestClient
from headwater.compute.engines.slurm_users import Tokens, Users
from headwater.compute.jobs import NewJob, Spec, State
from headwater.compute.work import Phase, Work
from headwater.core import identity, platform, settings
from headwater.core.errors import BadInput, Unavailable
from headwater.core.platform import Platform
from headwater.core.steps import Resources

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
def unclosed(
    request: pytest.FixtureRequest, cluster: Cluster, people: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SlurmEngine:
    """Give an engine for who closes it."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(folder.stat().st_mode | 0o711)
    client = CommandClient() if request.param == "commands" else RestClient(cluster.url, Tokens("root", key_file=cluster.key_file))
    users = Users({"Chen Wei": people[0], "city/haidian": people[1], "city/yizhuang": "{person}", "city/root": "root"})
    return opened(cluster, tmp_path, client=client, users=users, python=PYTHON)


@pytest.fixture
def engine(unclosed: SlurmEngine) -> Iterator[SlurmEngine]:
    yield unclosed
    for key in unclosed.sweep(()):
        until(unclosed, key, lambda seen: seen.phase is not Phase.RUNNING)
    unclosed.close()


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


def test_short_jobs_of_one_person_share_elements_and_run_as_them(engine: SlurmEngine, cluster: Cluster, people: tuple[str, ...]) -> None:
    works = [of(shell(f"short-{number}", "id -un", accelerators={"ascend910b": 4}), "Chen Wei", "city/haidian") for number in range(8)]
    engine.submit_all(works)
    assert {ended(engine, work.key).phase for work in works} == {Phase.SUCCEEDED}
    assert any(is_shared(engine, work.key) for work in works)
    assert {(engine.folder(work.key) / "log.txt").read_text().strip() for work in works} == {people[0]}
    until(engine, "short-0", lambda _: cluster.command("squeue", "-h", "-t", "PD", "-u", people[0], "-o", "%i").split() == [])


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


COUNTS = """
echo "$(id -un) from $(cat "$HW_CHECKPOINT/n" 2>/dev/null || echo 0)"
n=$(cat "$HW_CHECKPOINT/n" 2>/dev/null || echo 0)
trap 'echo $n > "$HW_CHECKPOINT/n"; exit 1' TERM
while [ $n -lt 40 ]; do n=$((n + 1)); sleep 0.1; done
"""
URGENT = 'name = "urgent"\n[order]\nby = "priority"\n[backfill]\nkind = "skip"\n[preemption]\nwhen = "by_priority"\n'


def test_a_preempted_job_goes_on_as_its_person_from_its_own_checkpoint(
    unclosed: SlurmEngine, people: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "urgent.toml").write_text(URGENT, encoding="utf-8")
    with platform.opened(settings.load(data_folder=tmp_path / "data", policy=str(tmp_path / "urgent.toml"))) as site:
        site.found()
        dispatcher = Dispatcher(site, {"slurm": unclosed})
        dispatcher.start()
        beside = handed_in(site, "Li Na", "sleep 8", priority=1.0)
        first = handed_in(site, "Chen Wei", COUNTS, priority=1.0, checkpoint_s=0.0)
        graphs.until(site, first, lambda seen: seen["job"].state is State.RUNNING)
        until_text(unclosed.folder(f"{first}.job.1") / "log.txt")
        time.sleep(0.5)
        urgent = handed_in(site, "Wang Fang", "true", priority=200.0)
        assert graphs.ended(site, urgent)["job"].state is State.DONE
        kept = unclosed.checkpoint_root() / f"{first}.job"
        assert (kept.owner(), kept.stat().st_mode & 0o777) == (people[0], 0o700)
        job = graphs.ended(site, first)["job"]
        assert graphs.ended(site, beside)["job"].preemptions == 0, "it would have lost its work"
        dispatcher.stop()
    assert (job.state, job.attempt, job.preemptions) == (State.DONE, 2, 1)
    assert (unclosed.folder(job.key) / "log.txt").read_text().startswith(f"{people[0]} from ")
    assert "from 0" not in (unclosed.folder(job.key) / "log.txt").read_text()
    assert list(unclosed.checkpoint_root().iterdir()) == [], "it goes when the job has ended"


def handed_in(site: Platform, person: str, script: str, **resources: float) -> str:
    """Submit a job that takes one of the two nodes with accelerators, handed in by a person of that name, and return its graph."""
    graph = f"g-{uuid.uuid4().hex[:8]}"
    asked = Resources(cpus=1.0, accelerators={"ascend910b": 4}, memory_gib=0.1, wall_s=60.0, **resources)  # type: ignore[arg-type]
    spec = Spec(argv=("/bin/sh", "-c", script), params={}, inputs={}, resources=asked)

    def write(connection: Connection) -> None:
        who = identity.add_person(connection, person, "city", actor=identity.SYSTEM, at=site.clock.now())
        new = [NewJob(id=f"{graph}.job", name="job", spec=spec, engine="slurm")]
        jobs.submit(connection, graph, new, organisation="city/haidian", actor=who, at=site.clock.now())

    site.db.write(write)
    return graph


def test_without_slurms_key_nobody_is_spoken_for(cluster: Cluster) -> None:
    with pytest.raises(Unavailable, match="Set slurm_jwt_key"):
        Tokens("root", file=cluster.token_file).headers("hw-test-chen")
