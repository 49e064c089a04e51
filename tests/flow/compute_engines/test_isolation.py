"""A job that is shut in really tries to read, signal and write what is not its own, and cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.compute.engines import sandbox
from headwater.compute.engines.local import LOCAL
from headwater.compute.work import Engine, Observation, Phase, Work
from headwater.core import platform, settings
from headwater.core.errors import BadInput, Unavailable
from headwater.core.platform import Platform
from headwater.core.steps import Resources


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Platform]:
    """Give a platform whose local engine shuts jobs in."""
    try:
        sandbox.check()
    except Unavailable as error:
        pytest.skip(str(error))
    chosen = settings.load(data_folder=tmp_path / "data", local_cpus=2, local_memory_gib=2, isolation="bubblewrap")
    with platform.opened(chosen) as opened:
        opened.found()
        yield opened


@pytest.fixture
def engine(site: Platform) -> Iterator[Engine]:
    opened = LOCAL(site)
    yield opened
    opened.sweep(())
    opened.close()


def ended(engine: Engine, script: str, *, key: str = "a.1", **more: object) -> Observation:
    """Run a shell script as a job, and return what became of it."""
    engine.submit(Work(key=key, argv=("sh", "-c", script), resources=Resources(wall_s=30), **more))  # type: ignore[arg-type]
    while (seen := engine.poll([key])[key]).phase is Phase.RUNNING:
        engine.wait(0.5)
    return seen


def log(engine: Engine, key: str = "a.1") -> str:
    return (engine.folder(key) / "log.txt").read_text()


def test_database_keys_and_other_jobs_are_not_there(site: Platform, engine: Engine) -> None:
    data = site.settings.data_folder
    other = engine.folder("b.1")
    other.mkdir()
    (other / "secret").write_text("another tenant's")
    names = [data / "headwater.db", data / "keys" / "platform.pem", other / "secret"]
    assert all(path.exists() for path in names)
    seen = ended(engine, "; ".join(f"cat {path} || ls {path}" for path in names) + f"; ls {data} {data}/jobs")
    told = log(engine)
    assert told.count("No such file or directory") >= 2 * len(names)
    assert "secret" not in told.replace(f"{other}/secret", "")
    assert told.strip().endswith("a.1")
    assert seen.phase is Phase.SUCCEEDED


def test_what_is_the_platforms_own_elsewhere_is_not_there_either(tmp_path: Path) -> None:
    try:
        sandbox.check()
    except Unavailable as error:
        pytest.skip(str(error))
    secret, slurm = tmp_path / "client-secret", tmp_path / "slurm-token"
    for path in (secret, slurm):
        path.write_text("very secret\n", encoding="utf-8")
    elsewhere = {"store_url": str(tmp_path / "store"), "database_url": f"sqlite:///{tmp_path / 'elsewhere.db'}"}
    files = {"oidc_client_secret_file": str(secret), "slurm_token_file": str(slurm)}
    chosen = settings.load(data_folder=tmp_path / "data", local_cpus=2, local_memory_gib=2, isolation="bubblewrap", **elsewhere, **files)
    with platform.opened(chosen) as opened:
        opened.found()
        name = opened.store.put_bytes(b"another tenant's")
        engine = LOCAL(opened)
        try:
            script = f"cat {secret} {slurm} {tmp_path}/elsewhere.db*; find {tmp_path}/store; cat inputs/given"
            seen = ended(engine, script, inputs={"given": name})
            told = log(engine)
        finally:
            engine.sweep(())
            engine.close()
    assert seen.phase is Phase.SUCCEEDED, told
    assert (tmp_path / "elsewhere.db").stat().st_size > 0
    assert "very secret" not in told
    assert told.count("Permission denied") >= 3
    assert told.endswith(f"{tmp_path}/store\nanother tenant's")


def test_the_servers_processes_are_neither_seen_nor_signalled(engine: Engine) -> None:
    seen = ended(engine, f"cat /proc/{os.getpid()}/environ; kill -0 {os.getpid()}; ps ax | wc -l; grep CapEff /proc/self/status; exit 7")
    told = log(engine)
    assert "No such file" in told or "not permitted" in told
    assert "No such process" in told or "not permitted" in told
    assert "CapEff:\t0000000000000000" in told
    assert seen.exit_code == 7


def test_only_its_own_folder_and_its_checkpoints_can_be_written(site: Platform, engine: Engine, tmp_path: Path) -> None:
    kept = site.settings.data_folder / "checkpoints" / "a"
    kept.mkdir(parents=True)
    script = f"echo x > outputs/made && echo y > {kept}/state && ! echo z > {tmp_path}/outside"
    assert ended(engine, script, environment={"HW_CHECKPOINT": str(kept)}).phase is Phase.SUCCEEDED
    assert (engine.folder("a.1") / "outputs" / "made").read_text() == "x\n"
    assert (kept / "state").read_text() == "y\n"
    assert not (tmp_path / "outside").exists()


def test_a_signal_and_the_time_to_clean_up_reach_the_job(engine: Engine) -> None:
    script = "trap 'echo cleaned > outputs/word; exit 0' TERM; touch outputs/ready; while :; do sleep 0.05; done"
    engine.submit(Work(key="a.1", argv=("sh", "-c", script), resources=Resources(wall_s=30)))
    while not (engine.folder("a.1") / "outputs" / "ready").exists():
        engine.wait(0.05)
    engine.cancel("a.1")
    while engine.poll(["a.1"])["a.1"].phase is Phase.RUNNING:
        engine.wait(0.5)
    assert (engine.folder("a.1") / "outputs" / "word").read_text() == "cleaned\n"


def test_an_isolation_that_nobody_knows_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="isolation"):
        settings.load(data_folder=tmp_path, isolation="wishes")
