"""Content-addressed storage of artifacts: a file's bytes, or a tree of files, named by digest.

A file is named `sha256:<hex>` over its bytes. A tree is a canonical JSON manifest of
`{path: {digest, size}}` that is itself stored as a file, and is named `sha256:<hex>` over those
bytes with the suffix `/`: the name alone tells which of the two it is.

Objects lie under `objects/ab/cdef…` of any file system that fsspec speaks (a local folder by
default). Writes go to a temporary name first and are moved into place, so a reader never meets half
an object, and a full disk leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from headwater.core import canonical
from headwater.core.errors import BadInput, Broken, LimitExceeded, NotFound, Unavailable

CHUNK = 1 << 20


def digest_of_file(path: Path) -> str:
    """Return `sha256:…` over a file's bytes."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def is_tree(name: str) -> bool:
    """Tell whether an artifact's name is that of a tree."""
    return name.endswith("/")


def check_name(name: str) -> str:
    """Return the name if it is a well-formed artifact name, else raise BadInput."""
    bare = name.removesuffix("/")
    digits = bare.removeprefix("sha256:")
    if not bare.startswith("sha256:") or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
        raise BadInput(
            f"'{name[:100]}' is not an artifact name.", "Names look like sha256:<64 hex digits>, with a / at the end for a tree."
        )
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a tree."""

    path: str
    digest: str
    size: int


class Store:
    """Artifacts in one place. Safe for several processes: objects are immutable and moved in whole."""

    def __init__(self, root: str | Path, *, max_bytes: int | None = None) -> None:
        """Open a store at a folder or fsspec URL; `max_bytes` bounds a single artifact."""
        import fsspec

        self.url = str(root)
        self.max_bytes = max_bytes
        self._fs, self._root = fsspec.core.url_to_fs(self.url)
        self._local = "file" in ([self._fs.protocol] if isinstance(self._fs.protocol, str) else self._fs.protocol)

    def _object(self, name: str) -> str:
        digits = check_name(name).removeprefix("sha256:").removesuffix("/")
        return f"{self._root}/objects/{digits[:2]}/{digits[2:]}"

    def has(self, name: str) -> bool:
        """Tell whether the artifact, and each file of it if it is a tree, is here."""
        if not self._fs.exists(self._object(name)):
            return False
        return not is_tree(name) or all(self._fs.exists(self._object(entry.digest)) for entry in self.entries(name))

    def put_bytes(self, data: bytes) -> str:
        """Store bytes and return their name."""
        name = "sha256:" + hashlib.sha256(data).hexdigest()
        target = self._object(name)
        if not self._fs.exists(target):
            with self._moved_into(target) as file:
                file.write(data)
        return name

    def put_file(self, path: Path) -> str:
        """Store a regular file's bytes and return their name. Raises BadInput for a link or a device, Broken where it changes meanwhile."""
        return self._put_file(path).digest

    def _put_file(self, path: Path) -> Entry:
        with _regular(path) as source:
            self._check_size(os.fstat(source.fileno()).st_size, str(path))
            name, size = self._counted(source, path)
            target = self._object(name)
            if not self._fs.exists(target):
                source.seek(0)
                written = hashlib.sha256()
                with self._moved_into(target) as file:
                    while chunk := source.read(CHUNK):
                        written.update(chunk)
                        file.write(chunk)
                    if "sha256:" + written.hexdigest() != name:
                        raise Broken(f"{path} changed while it was being stored.", "Store it again once nothing writes to it.")
        return Entry(path=path.name, digest=name, size=size)

    def _counted(self, source: BinaryIO, path: Path) -> tuple[str, int]:
        """Return the digest and the length of what is read, which may be more than the file's size said."""
        seen, size = hashlib.sha256(), 0
        while chunk := source.read(CHUNK):
            seen.update(chunk)
            size += len(chunk)
            self._check_size(size, str(path))
        return "sha256:" + seen.hexdigest(), size

    def put_tree(self, folder: Path) -> str:
        """Store every regular file below a folder and return the tree's name.

        Raises BadInput for a link, a device or a name that is not UTF-8: a tree must unpack the same anywhere.
        """
        files: dict[str, dict[str, object]] = {}
        total = 0
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise BadInput(f"'{relative}' is not a regular file.", "Trees hold regular files and folders only.", where=str(folder))
            if path.is_file():
                self._check_size(total + path.stat().st_size, str(folder))
                stored = self._put_file(path)
                total += stored.size
                self._check_size(total, str(folder))
                files[relative] = {"digest": stored.digest, "size": stored.size}
        return self.put_bytes(canonical.to_bytes({"schema": "headwater.tree/1", "files": files})) + "/"

    def put(self, path: Path) -> str:
        """Store a file or a folder and return its name."""
        return self.put_tree(path) if path.is_dir() else self.put_file(path)

    def entries(self, name: str) -> tuple[Entry, ...]:
        """Return the files of a tree, sorted by path."""
        try:
            files = json.loads(self.read(name.removesuffix("/")))["files"]
            return tuple(Entry(path=path, **fact) for path, fact in sorted(files.items()))
        except (ValueError, KeyError, TypeError) as error:
            raise Broken(f"{name} is not a tree manifest.", "Use the name without the / for a file.") from error

    def read(self, name: str, path: str = "", *, limit: int | None = None) -> bytes:
        """Return a file's bytes, checked against its digest; for a tree, name the file inside with `path`.

        Raises NotFound, Broken where the bytes do not match, LimitExceeded past `limit` bytes.
        """
        if path:
            name = self.find(name, path).digest
        target = self._object(name)
        try:
            if limit is not None and self._fs.size(target) > limit:
                raise LimitExceeded(f"{name} is larger than {limit} bytes.", "Download it instead.")
            data = cast("bytes", self._fs.cat_file(target))
        except FileNotFoundError as error:
            raise NotFound(f"No artifact {name} in {self.url}.", "It may have been made on another site: fetch it first.") from error
        if "sha256:" + hashlib.sha256(data).hexdigest() != name.removesuffix("/"):
            raise Broken(f"The stored bytes of {name} do not match its digest.", "Restore the object from a backup.")
        return data

    def find(self, name: str, path: str) -> Entry:
        """Return one file of a tree by path, or raise NotFound."""
        for entry in self.entries(name):
            if entry.path == path:
                return entry
        raise NotFound(f"No file '{path}' in {name}.", "List the tree's files to see what it holds.")

    def open(self, name: str) -> BinaryIO:
        """Open a file artifact for reading."""
        try:
            return cast("BinaryIO", self._fs.open(self._object(name), "rb"))
        except FileNotFoundError as error:
            raise NotFound(f"No artifact {name} in {self.url}.") from error

    def size(self, name: str) -> int:
        """Return the bytes of an artifact: of the file, or of all files of the tree."""
        if is_tree(name):
            return sum(entry.size for entry in self.entries(name))
        try:
            return int(self._fs.size(self._object(name)))
        except FileNotFoundError as error:
            raise NotFound(f"No artifact {name} in {self.url}.") from error

    def materialise(self, name: str, target: Path) -> None:
        """Lay an artifact out at `target` as read-only files: a file there, or a folder for a tree.

        Copies, never links: a job that writes to its input must not reach the store.
        """
        if is_tree(name):
            target.mkdir(parents=True, exist_ok=True)
        for entry in self.files(name):
            self._copy_out(entry.digest, target / entry.path)

    def files(self, name: str) -> tuple[Entry, ...]:
        """Return the files of an artifact by their places below it: those of a tree, or the one file, at ``.``.

        Raises Broken for a tree that would put a file outside.
        """
        if not is_tree(name):
            return (Entry(path=".", digest=name, size=self.size(name)),)
        entries = self.entries(name)
        for entry in entries:
            inside = PurePosixPath(entry.path)
            if inside.is_absolute() or ".." in inside.parts:
                raise Broken(f"{name} holds the unsafe path '{entry.path}'.", "Do not use this artifact.")
        return entries

    def share(self, name: str, target: Path) -> None:
        """Put a file artifact at `target`, sharing its bytes with the store where the file system can, else as a copy.

        For folders that the platform alone writes to: whoever wrote into the file would change the store.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._local:
            with contextlib.suppress(OSError):  # another file system, or one without links: then it is copied
                os.link(self._object(name), target)
                return
        self._copy_out(name, target)

    def _copy_out(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        seen = hashlib.sha256()
        part = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with self.open(name) as source, part.open("wb") as file:
                while chunk := source.read(CHUNK):
                    seen.update(chunk)
                    file.write(chunk)
            if "sha256:" + seen.hexdigest() != name:
                raise Broken(f"The stored bytes of {name} do not match its digest.", "Restore the object from a backup.")
            part.chmod(0o444)
            part.replace(target)
        except OSError as error:
            raise disk_error(error, str(target)) from error
        finally:
            part.unlink(missing_ok=True)

    def _check_size(self, size: int, where: str) -> None:
        if self.max_bytes is not None and size > self.max_bytes:
            raise LimitExceeded(
                f"The artifact is larger than {self.max_bytes} bytes.", "Raise `store_max_bytes` in the settings.", where=where
            )

    @contextlib.contextmanager
    def _moved_into(self, target: str) -> Iterator[Any]:
        part = f"{self._root}/parts/{uuid.uuid4().hex}"
        try:
            self._fs.makedirs(f"{self._root}/parts", exist_ok=True)
            self._fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            with self._fs.open(part, "wb") as file:
                yield file
                if self._local:
                    file.flush()
                    os.fsync(file.fileno())
            if self._local:
                os.replace(part, target)
            else:
                self._fs.mv(part, target)
        except OSError as error:
            raise disk_error(error, self.url) from error
        finally:
            with contextlib.suppress(OSError):
                self._fs.rm_file(part)


def _regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Raises BadInput for what is none: a link would lead elsewhere, a pipe would never end."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
    else:
        if stat.S_ISREG(os.fstat(number).st_mode):
            return os.fdopen(number, "rb")
        os.close(number)
    raise BadInput(f"'{path.name}' is not a regular file.", "Store regular files and folders of them.", where=str(path.parent))


def disk_error(error: OSError, where: str) -> Unavailable:
    """Return the error for a disk that refuses, with what is free on it."""
    try:
        free = f" ({shutil.disk_usage(where).free // 2**20} MiB free)"
    except OSError:
        free = ""
    return Unavailable(
        f"Could not write: {error.strerror or error}{free}.", "Free some space or check the rights, then run again.", where=where
    )
