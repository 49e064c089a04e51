"""Taking in files: nothing outside the folder, nothing beyond the limits, nothing that only looks like a plain file."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput, HeadwaterError, LimitExceeded
from headwater.data.catalogue.intake import MIB, Limits, check_file_name, take_in

OUTSIDE = ["../x", "a/../../x", "/etc/x", "C:/x", "..\\x", "a/./b", "a//b", ""]
HOSTILE = ["con", "NUL.txt", "a/aux.csv", "x\n.csv", "evil\u202evsc.exe", "a|b", "trailing.", "trailing ", "-rf", "e\u0301.csv", "a\x00b"]


def zipped(path: Path, members: dict[str, bytes], **more: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = more.get("mode", 0) << 16
            archive.writestr(info, data)
    return path


def laid_out(source: Path, folder: Path, limits: Limits | None = None) -> dict[str, bytes]:
    folder.mkdir()
    take_in(source, folder, limits or Limits())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_a_folder_a_zip_and_a_tar_are_laid_out_alike(tmp_path: Path) -> None:
    members = {"a.csv": b"x\n1\n", "部分/b.txt": b"hello"}
    folder = tmp_path / "folder"
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        archive.add(folder, arcname="")
    zipped(tmp_path / "z.zip", members)
    for number, source in enumerate((folder, tmp_path / "z.zip", tmp_path / "t.tar.gz")):
        assert laid_out(source, tmp_path / f"out{number}") == members
    assert laid_out(folder / "a.csv", tmp_path / "one") == {"a.csv": members["a.csv"]}


def test_a_spreadsheet_is_kept_whole_though_it_is_a_zip_inside(tmp_path: Path) -> None:
    book = zipped(tmp_path / "book.xlsx", {"xl/sheet.xml": b"<x/>"})
    assert laid_out(book, tmp_path / "out") == {"book.xlsx": book.read_bytes()}
    (tmp_path / "no.zip").write_bytes(b"this is no zip")
    with pytest.raises(BadInput, match="cannot be read"):
        laid_out(tmp_path / "no.zip", tmp_path / "out2")


@pytest.mark.parametrize("name", OUTSIDE + HOSTILE)
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(BadInput):
        check_file_name(name, "archive.zip")


@pytest.mark.parametrize("name", ["a.csv", "数据/部分-1.parquet", ".hidden", "a b (1).csv", "console.csv"])
def test_plain_names_are_taken(name: str) -> None:
    assert check_file_name(name, "archive.zip") == name


@given(st.text(min_size=1, max_size=40))
def test_a_name_that_is_taken_stays_inside_its_folder(name: str) -> None:
    try:
        check_file_name(name, "x")
    except BadInput:
        return
    inside = os.path.normpath(os.path.join("/base", name))
    assert inside.startswith("/base/")
    assert inside == f"/base/{name}"


@pytest.mark.parametrize("name", ["../escape.txt", "/tmp/escape.txt", "a/../../escape.txt"])
def test_an_archive_cannot_write_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="leads out|not a relative path"):
        laid_out(zipped(tmp_path / "z.zip", {"ok.txt": b"1", name: b"2"}), tmp_path / "out")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        info = tarfile.TarInfo(name)
        info.size = 1
        archive.addfile(info, io.BytesIO(b"2"))
    with pytest.raises(BadInput, match="leads out|not a relative path"):
        laid_out(tmp_path / "t.tar", tmp_path / "out2")
    assert not (tmp_path / "escape.txt").exists()


def test_a_zip_bomb_is_stopped_as_soon_as_it_passes_the_limit(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "z.zip", {"zeros": b"\0" * (200 * MIB)})
    assert bomb.stat().st_size < MIB
    with pytest.raises(LimitExceeded, match="unpacks to more than 64 MiB"):
        laid_out(bomb, tmp_path / "out")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) <= 64 * MIB
    with pytest.raises(LimitExceeded, match="comes to more than 1 MiB"):
        laid_out(bomb, tmp_path / "out2", Limits(bytes=MIB))


def test_a_zip_that_lies_about_its_size_is_stopped_or_found_out(tmp_path: Path) -> None:
    path = zipped(tmp_path / "z.zip", {"zeros": b"\0" * (3 * MIB)})
    raw = path.read_bytes().replace(struct.pack("<I", 3 * MIB), struct.pack("<I", 10))
    path.write_bytes(raw)
    with pytest.raises(HeadwaterError):
        laid_out(path, tmp_path / "out", Limits(bytes=MIB))


def test_links_devices_and_encrypted_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="link or a device"):
        laid_out(zipped(tmp_path / "z.zip", {"link": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777), tmp_path / "o1")
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(BadInput, match="not a plain file"):
        laid_out(tmp_path / "t.tar", tmp_path / "o2")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="link or a device"):
        laid_out(folder, tmp_path / "o3")


def test_twins_by_capitals_too_many_files_and_nothing_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there twice"):
        laid_out(zipped(tmp_path / "a.zip", {"a.csv": b"1", "A.csv": b"2"}), tmp_path / "o1")
    with pytest.raises(LimitExceeded, match="more than 2 files"):
        laid_out(zipped(tmp_path / "b.zip", {str(one): b"" for one in range(3)}), tmp_path / "o2", Limits(files=2))
    with pytest.raises(BadInput, match="no file in it"):
        laid_out(zipped(tmp_path / "c.zip", {}), tmp_path / "o3")
    with pytest.raises(BadInput, match="both a file and a folder"):
        laid_out(zipped(tmp_path / "d.zip", {"a": b"1", "a/b": b"2"}), tmp_path / "o4")


def test_an_archive_that_is_cut_short_is_refused_as_a_whole(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("a")
        info.size = 100_000
        archive.addfile(info, io.BytesIO(os.urandom(100_000)))
    whole = (tmp_path / "t.tar.gz").read_bytes()
    (tmp_path / "t.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="cannot be read"):
        laid_out(tmp_path / "t.tar.gz", tmp_path / "out")
