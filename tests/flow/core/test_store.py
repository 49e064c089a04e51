"""The artifact store: named by content, whole or not at all, and never reached by what it lays out."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.core.errors import BadInput, Broken, LimitExceeded, NotFound, Unavailable
from headwater.core.store import Store

names = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\\0"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_an_object_store_behind_fsspec_holds_the_same_artifacts_under_the_same_names(store: Store, tmp_path: Path) -> None:
    remote = Store(f"memory://{tmp_path.name}")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a.txt").write_text("数据", encoding="utf-8")
    name = remote.put(tmp_path / "in")
    assert name == store.put(tmp_path / "in")
    assert remote.has(name)
    remote.materialise(name, tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "a.txt").read_text(encoding="utf-8") == "数据"
    assert remote.size(name) == len("数据".encode())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(files=st.dictionaries(names, st.binary(max_size=200), min_size=1, max_size=5))
def test_a_tree_comes_out_as_it_went_in(store: Store, tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("in")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    name = store.put(folder)
    out = tmp_path_factory.mktemp("out") / "tree"
    store.materialise(name, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files
    assert store.put(out) == name


def test_what_is_laid_out_is_a_copy_that_cannot_reach_the_store(store: Store, tmp_path: Path) -> None:
    name = store.put_bytes(b"original")
    out = tmp_path / "laid-out"
    store.materialise(name, out)
    assert out.stat().st_mode & 0o222 == 0
    out.chmod(0o600)
    out.write_bytes(b"changed")
    assert store.read(name) == b"original"


def test_a_changed_object_is_not_handed_out(store: Store, tmp_path: Path) -> None:
    name = store.put_bytes(b"original")
    held = next(path for path in (tmp_path / "store" / "objects").rglob("*") if path.is_file())
    held.write_bytes(b"tampered")
    with pytest.raises(Broken, match="do not match its digest"):
        store.read(name)
    with pytest.raises(Broken):
        store.materialise(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_are_refused_so_that_a_tree_cannot_point_outside(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="'link' is not a regular file"):
        store.put(tmp_path / "in")


@pytest.mark.parametrize("name", ["", "sha256:", "sha256:../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "a" * 64, "a" * 64])
def test_a_name_that_is_no_digest_never_becomes_a_path(store: Store, name: str) -> None:
    with pytest.raises(BadInput, match="is not an artifact name"):
        store.read(name)


def test_an_artifact_that_is_not_here_is_said_so(store: Store) -> None:
    with pytest.raises(NotFound, match="No artifact sha256:00"):
        store.read("sha256:" + "0" * 64)


def test_an_artifact_over_the_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    small = Store(tmp_path / "store", max_bytes=10)
    (tmp_path / "big").write_bytes(b"x" * 11)
    with pytest.raises(LimitExceeded, match="larger than 10 bytes"):
        small.put(tmp_path / "big")
    assert not list((tmp_path / "store").rglob("*"))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_and_leaves_nothing_half_written(full_disk: Path, tmp_path: Path) -> None:
    store = Store(full_disk / "store")
    (tmp_path / "big").write_bytes(os.urandom(2 << 20))
    with pytest.raises(Unavailable, match="No space left on device.*Free some space"):
        store.put(tmp_path / "big")
    assert not [path for path in full_disk.rglob("*") if path.is_file()]
    assert store.read(store.put_bytes(b"still works")) == b"still works"
