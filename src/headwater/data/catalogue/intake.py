"""Take in files that people hand over: one file, a folder, or an archive, laid out safely in a folder of our own.

Whatever a name, a link or an announced size pretends, nothing is written outside that folder and no
more than the limits allow. The source is only read. What cannot be taken in whole is refused whole.
"""

from __future__ import annotations

import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from headwater.core.errors import BadInput, LimitExceeded

CHUNK = 1 << 20
MIB = 1 << 20
LARGEST_RATIO = 200
RATIO_MATTERS_FROM = 64 * MIB
"""An archive may unpack to RATIO times its size, or to this much where that is more."""
_RESERVED = {"con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in range(1, 10))}
_HIDDEN_DIRECTION = {"\u200e", "\u200f", *(chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may be taken in at once."""

    bytes: int = 1 << 30
    files: int = 10_000


def take_in(source: Path, folder: Path, limits: Limits = Limits(), *, name: str | None = None) -> None:
    """Lay out a file, folder, zip or tar archive below an empty folder. `name` is the file's own name where `source` is a copy.

    Raises BadInput for a name, link or archive that is not safe, LimitExceeded for too much.
    """
    called = name or source.name
    if source.is_symlink() or not source.exists():
        raise BadInput("There is no such file.", "Give the path of a file, folder or archive.", where=str(source))
    if source.is_dir():
        _folder(source, folder, limits)
    elif called.lower().endswith(".zip"):  # by its name: a spreadsheet or a model is a zip too, and is kept as it is
        _zip(source, folder, limits, called)
    elif called.lower().endswith((".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")):
        _tar(source, folder, limits, called)
    else:
        with source.open("rb") as file:
            _Writer(folder, limits, called).write(called, file)


def check_file_name(name: str, where: str) -> str:
    """Return a file's path inside a version, if it is safe on every system. Raises BadInput, saying what is wrong with it."""
    shown = ascii(name[:100])
    if not name or len(name.encode(errors="replace")) > 500:
        raise BadInput(f"The file name {shown} has {len(name)} characters.", "Use 1 to 500 bytes.", where=where)
    if any(unicodedata.category(one) in ("Cc", "Cs") or one in _HIDDEN_DIRECTION for one in name):
        raise BadInput(f"The file name {shown} holds characters that cannot be seen.", "Rename it.", where=where)
    if "\\" in name or name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        raise BadInput(f"The file name {shown} is not a relative path.", "Archives hold relative paths joined by /.", where=where)
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise BadInput(f"The file name {shown} leads out of its folder or nowhere.", "Use plain names joined by /.", where=where)
    if any(part.startswith("-") or (part != part.strip(" .") and not part.startswith(".")) or _reserved(part) for part in parts):
        raise BadInput(f"The file name {shown} is not possible on every system.", "Rename it.", where=where)
    if unicodedata.normalize("NFC", name) != name:
        raise BadInput(f"The file name {shown} is not in Unicode's composed form (NFC).", "Rename it.", where=where)
    return name


def _reserved(part: str) -> bool:
    return part.split(".")[0].lower() in _RESERVED or any(one in '<>:"|?*' for one in part) or part.endswith((" ", "."))


class _Writer:
    """Writes files below a folder and keeps count of what all of them came to."""

    def __init__(self, folder: Path, limits: Limits, where: str, *, ceiling: int | None = None) -> None:
        self.folder, self.limits, self.where = folder, limits, where
        self.ceiling = min(limits.bytes, ceiling if ceiling is not None else limits.bytes)
        self.bytes = 0
        self.seen: set[str] = set()

    def write(self, name: str, file: IO[bytes]) -> None:
        """Copy one file in, stopping as soon as the limit is passed."""
        check_file_name(name, self.where)
        if (plain := name.casefold()) in self.seen:
            raise BadInput(f"The file '{name}' is there twice, or twice but for capital letters.", "Rename one.", where=self.where)
        self.seen.add(plain)
        if len(self.seen) > self.limits.files:
            raise LimitExceeded(f"There are more than {self.limits.files} files.", "Pack them into fewer.", where=self.where)
        target = self.folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out:
                while chunk := file.read(CHUNK):
                    self.bytes += len(chunk)
                    if self.bytes > self.ceiling:
                        raise self._too_much()
                    out.write(chunk)
        except (FileExistsError, NotADirectoryError) as error:
            raise BadInput(f"'{name}' is both a file and a folder.", "Rename one.", where=self.where) from error

    def _too_much(self) -> LimitExceeded:
        if self.ceiling < self.limits.bytes:
            hint = f"It packs more than {LARGEST_RATIO} bytes into one: this is not how data pack. Hand in the files themselves."
            return LimitExceeded(f"It unpacks to more than {self.ceiling / MIB:.0f} MiB.", hint, where=self.where)
        return LimitExceeded(
            f"It comes to more than {self.limits.bytes / MIB:.0f} MiB.", "Split it, or have the limit raised.", where=self.where
        )


def _folder(source: Path, folder: Path, limits: Limits) -> None:
    writer = _Writer(folder, limits, source.name)
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BadInput(f"'{relative}' is a link or a device.", "Data sets hold plain files.", where=source.name)
        if path.is_file():
            with path.open("rb") as file:
                writer.write(relative, file)
    _not_empty(writer)


def _zip(source: Path, folder: Path, limits: Limits, where: str) -> None:
    writer = _Writer(folder, limits, where, ceiling=_ceiling(source))
    try:
        with zipfile.ZipFile(source) as archive:
            for member in _plain(archive.infolist(), where):
                with archive.open(member) as file:
                    writer.write(member.filename, file)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise BadInput(f"The archive cannot be read: {error}.", "Pack it again.", where=where) from error
    _not_empty(writer)


def _plain(members: Iterable[zipfile.ZipInfo], where: str) -> Iterator[zipfile.ZipInfo]:
    for member in members:
        mode = member.external_attr >> 16
        if member.flag_bits & 0x1:
            raise BadInput(f"'{member.filename[:100]}' is encrypted.", "Pack it without a password.", where=where)
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BadInput(f"'{member.filename[:100]}' is a link or a device.", "Data sets hold plain files.", where=where)
        if not member.is_dir():
            yield member


def _tar(source: Path, folder: Path, limits: Limits, where: str) -> None:
    writer = _Writer(folder, limits, where, ceiling=_ceiling(source))
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                if member.isdir():
                    continue
                file = archive.extractfile(member) if member.isreg() else None
                if file is None or member.issparse():
                    raise BadInput(f"'{member.name[:100]}' is not a plain file.", "Data sets hold plain files.", where=where)
                writer.write(member.name, file)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadInput(f"The archive cannot be read: {error}.", "Pack it again.", where=where) from error
    _not_empty(writer)


def _ceiling(source: Path) -> int:
    return max(RATIO_MATTERS_FROM, LARGEST_RATIO * source.stat().st_size)


def _not_empty(writer: _Writer) -> None:
    if not writer.seen:
        raise BadInput("There is no file in it.", "A version holds at least one file.", where=writer.where)
