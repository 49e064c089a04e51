"""Inputs come to the site once, checked, and taken up after a crash; outputs are stored with the same care."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import State
from headwater.compute.staging import evict, stage
from headwater.compute.work import Staging
from headwater.core import platform, settings
from headwater.core.errors import BadInput, Broken, Unavailable
from headwater.core.platform import Platform
from headwater.core.store import Store
from tests.flow.compute.graphs import command, ended, submit, until

SIZE = 24 << 20


class CountedStore(Store):
    """A store that counts the bytes read from it, and may be slow."""

    read_bytes = 0
    pause_s = 0.0

    def open(self, name: str) -> BinaryIO:
        outer, file = self, super().open(name)

        class Counted:
            def __enter__(self) -> Counted:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def seek(self, place: int) -> int:
                return file.seek(place)

            def read(self, count: int) -> bytes:
                piece = file.read(count)
                outer.read_bytes += len(piece)
                time.sleep(outer.pause_s)
                return piece

        return Counted()  # type: ignore[return-value]


@pytest.fixture
def store(tmp_path: Path) -> CountedStore:
    return CountedStore(tmp_path / "store")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a disk of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def entry_of(cache: Path, name: str) -> Path:
    return cache / name.removeprefix("sha256:")


def test_what_many_attempts_need_is_fetched_once_and_shared(store: CountedStore, tmp_path: Path) -> None:
    data = os.urandom(SIZE)
    name, cache = store.put_bytes(data), tmp_path / "site" / ".cache"
    for number in range(5):
        (tmp_path / "site" / f"job{number}").mkdir(parents=True)
        stage(store, cache, {tmp_path / "site" / f"job{number}" / "in": name}, Staging())
    assert store.read_bytes == SIZE
    places = [tmp_path / "site" / f"job{number}" / "in" for number in range(5)]
    assert {hashlib.sha256(place.read_bytes()).hexdigest() for place in places} == {name.removeprefix("sha256:")}
    assert len({place.stat().st_ino for place in places}) == 1
    assert all(place.stat().st_mode & 0o222 == 0 for place in places)


def test_trees_come_whole_and_share_their_files(store: CountedStore, tmp_path: Path) -> None:
    (tmp_path / "made" / "deep").mkdir(parents=True)
    (tmp_path / "made" / "a").write_bytes(b"same")
    (tmp_path / "made" / "deep" / "b").write_bytes(b"same")
    name = store.put(tmp_path / "made")
    stage(store, tmp_path / ".cache", {tmp_path / "out": name}, Staging())
    assert {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()
    } == {
        "a": b"same",
        "deep/b": b"same",
    }
    assert store.read_bytes == len(b"same")


def test_those_who_need_the_same_at_once_wait_for_one_copy(store: CountedStore, tmp_path: Path) -> None:
    name, store.pause_s = store.put_bytes(os.urandom(SIZE)), 0.05
    threads = [
        threading.Thread(target=stage, args=(store, tmp_path / ".cache", {tmp_path / f"in{number}": name}, Staging()))
        for number in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read_bytes == SIZE
    assert all((tmp_path / f"in{number}").stat().st_size == SIZE for number in range(6))


def _stage_slowly(store: CountedStore, cache: Path, place: Path, name: str) -> None:
    store.pause_s = 0.3
    stage(store, cache, {place: name}, Staging())


def test_a_copy_that_a_crash_cut_off_goes_on_where_it_was(store: CountedStore, tmp_path: Path) -> None:
    name, cache = store.put_bytes(os.urandom(SIZE)), tmp_path / ".cache"
    process = multiprocessing.get_context("fork").Process(target=_stage_slowly, args=(store, cache, tmp_path / "never", name))
    process.start()
    part = cache / f"{entry_of(cache, name).name}.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size >= 8 << 20):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    there = part.stat().st_size
    stage(store, cache, {tmp_path / "in": name}, Staging())
    assert store.read_bytes == SIZE - there
    assert "sha256:" + hashlib.sha256((tmp_path / "in").read_bytes()).hexdigest() == name
    assert not part.exists()


@pytest.mark.parametrize("harm", ["cut", "written to", "half copied wrong"])
def test_what_is_wrong_in_the_cache_is_fetched_again(store: CountedStore, tmp_path: Path, harm: str) -> None:
    data = os.urandom(SIZE)
    name, cache = store.put_bytes(data), tmp_path / ".cache"
    held = entry_of(cache, name)
    if harm == "half copied wrong":
        cache.mkdir()
        held.with_name(f"{held.name}.part").write_bytes(b"wrong" * 1000)
    else:
        stage(store, cache, {tmp_path / "first": name}, Staging())
        held.chmod(0o600)
        if harm == "cut":
            os.truncate(held, SIZE // 2)
        else:
            with held.open("r+b") as file:
                file.write(b"poison")
    stage(store, cache, {tmp_path / "second": name}, Staging())
    assert (tmp_path / "second").read_bytes() == data


def test_wrong_bytes_in_the_store_are_not_handed_out_and_leave_nothing(store: CountedStore, tmp_path: Path) -> None:
    name = store.put_bytes(b"original")
    next(path for path in (tmp_path / "store" / "objects").rglob("*") if path.is_file()).write_bytes(b"tampered")
    with pytest.raises(Broken, match="do not match its digest"):
        stage(store, tmp_path / ".cache", {tmp_path / "in": name}, Staging())
    assert not (tmp_path / "in").exists()
    assert not [path for path in (tmp_path / ".cache").iterdir() if path.is_file()]


def test_the_longest_unused_goes_first_and_those_who_have_it_keep_it(store: CountedStore, tmp_path: Path) -> None:
    names = [store.put_bytes(os.urandom(1 << 20)) for _ in range(4)]
    cache = tmp_path / ".cache"
    for number in (0, 1, 2, 0, 3):
        place = tmp_path / f"in{number}.{time.monotonic_ns()}"
        stage(store, cache, {place: names[number]}, Staging(cache_bytes=3 << 20))
        time.sleep(0.01)
    assert [entry_of(cache, name).exists() for name in names] == [True, False, True, True]
    assert next(tmp_path.glob("in1.*")).stat().st_size == 1 << 20
    evict(cache, 0)
    assert not any(entry_of(cache, name).exists() for name in names)


def test_a_disk_that_fills_while_an_input_comes_is_said_and_left_empty(store: CountedStore, small_disk: Path) -> None:
    name = store.put_bytes(os.urandom(SIZE))
    with pytest.raises(Unavailable, match="No space left on device.*Free some space"):
        stage(store, small_disk / ".cache", {small_disk / "in": name}, Staging())
    assert not [path for path in (small_disk / ".cache").iterdir() if path.is_file()]


def test_a_job_says_how_much_of_its_inputs_is_there_while_they_come(site: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    made = "mkdir -p outputs; head -c 40000000 /dev/urandom > outputs/out"
    slow = CountedStore(site.settings.store)
    slow.pause_s = 0.4
    object.__setattr__(site, "store", slow)
    dispatcher = Dispatcher(site)
    dispatcher.start()
    graph = submit(
        site,
        {
            "make": command("sh", "-c", made, outputs=("out",)),
            "use": command("sh", "-c", "test $(stat -c %s inputs/x) = 40000000", inputs={"x": "make.out"}),
        },
    )
    seen = until(site, graph, lambda seen: seen["use"].reason.startswith("staging its inputs: "))["use"]
    assert seen.state is State.STARTING
    assert 0 < int(seen.reason.removeprefix("staging its inputs: ").partition("%")[0]) < 100
    done = ended(site, graph)["use"]
    dispatcher.stop()
    assert done.state is State.DONE
    assert "staging" not in done.reason


def test_an_input_that_a_job_writes_to_is_whole_again_for_the_next(site: Platform) -> None:
    dispatcher = Dispatcher(site)
    dispatcher.start()
    spoil = "chmod u+w inputs/x; echo spoiled > inputs/x"
    graph = submit(
        site,
        {
            "make": command("sh", "-c", "mkdir -p outputs; echo right > outputs/out", outputs=("out",)),
            "spoil": command("sh", "-c", spoil, inputs={"x": "make.out"}),
            "use": command("sh", "-c", "grep -q right inputs/x", inputs={"x": "make.out"}, needs=("spoil",)),
        },
    )
    states = {name: job.state for name, job in ended(site, graph).items()}
    dispatcher.stop()
    assert states == dict.fromkeys(("make", "spoil", "use"), State.DONE)


def test_outputs_wait_where_they_are_while_the_stores_disk_is_full(tmp_path: Path, small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"x" * (3 << 20))
    made = "mkdir -p outputs; head -c 2000000 /dev/urandom > outputs/out; sha256sum < outputs/out > outputs/sum"
    with platform.opened(settings.load(data_folder=tmp_path / "data", store_url=str(small_disk / "store"), local_cpus=2)) as site:
        site.found()
        dispatcher = Dispatcher(site)
        dispatcher.start()
        graph = submit(site, {"make": command("sh", "-c", made, outputs=("out", "sum"))})
        waiting = until(site, graph, lambda seen: "its outputs wait to be stored" in seen["make"].reason)["make"]
        assert waiting.state is State.RUNNING
        assert "No space left on device" in waiting.reason
        (small_disk / "ballast").unlink()
        job = ended(site, graph)["make"]
        dispatcher.stop()
        assert (job.state, job.attempt) == (State.DONE, 1)
        told = site.store.read(job.outputs["sum"]).decode().split()[0]
        assert job.outputs["out"] == f"sha256:{told}"


@pytest.mark.parametrize(
    ("script", "state", "told"),
    [
        ("ln -s /etc/passwd outputs/out", State.REFUSED, "outside its outputs folder"),
        ("mkdir outputs/out; ln -s /etc/passwd outputs/out/link", State.FAILED, "not a regular file"),
        ("mkfifo outputs/out", State.FAILED, "not a regular file"),
        ("mkdir outputs/out; mkfifo outputs/out/pipe", State.FAILED, "not a regular file"),
        ("true", State.FAILED, "did not make its output"),
    ],
)
def test_an_output_that_is_no_file_of_the_jobs_own_is_not_taken(site: Platform, script: str, state: State, told: str) -> None:
    dispatcher = Dispatcher(site)
    dispatcher.start()
    graph = submit(site, {"job": command("sh", "-c", f"mkdir -p outputs; {script}", outputs=("out",))})
    job = ended(site, graph)["job"]
    dispatcher.stop()
    assert job.state is state
    assert told in job.reason


def test_a_file_that_changes_while_it_is_stored_is_refused_or_stored_as_one_moment_of_it(store: CountedStore, tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(os.urandom(SIZE))
    script = "import sys\nwhile True:\n f = open(sys.argv[1], 'r+b'); f.write(__import__('os').urandom(4096)); f.close()"
    writer = subprocess.Popen([sys.executable, "-c", script, str(path)])
    try:
        refused = 0
        for _ in range(5):
            before = path.read_bytes()[:4096]
            while path.read_bytes()[:4096] == before:
                time.sleep(0.01)  # it writes
            try:
                name = store.put_file(path)
            except Broken:
                refused += 1
            else:
                assert "sha256:" + hashlib.sha256(store.read(name)).hexdigest() == name
        assert refused > 0
    finally:
        writer.kill()
        writer.wait()


def test_a_link_or_pipe_is_not_stored_as_a_file(store: CountedStore, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(BadInput, match="is not a regular file"):
            store.put_file(tmp_path / name)
