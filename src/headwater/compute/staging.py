"""Bring a job's inputs to where it runs: from the store into a cache of the site, and from there into the attempt's folder.

The cache is a folder beside the attempts' with one read-only file for each digest, shared by hard links. A file is copied by
pieces to a `.part`, which is taken up where a crash left it, and becomes an entry once its digest is right; whoever needs it
meanwhile waits. An entry that was cut or written to shows it by its size or time, and is fetched again. What has not been used for
longest goes when the cache is over its bound; attempts that use it keep it until they end.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from headwater.compute.work import Staging
from headwater.core.errors import Broken
from headwater.core.store import Entry, Store, disk_error, is_tree

PIECE = 4 << 20
CHECKED_NS = 978_307_200 * 10**9
"""The modification time that marks an entry as checked: the turn of the year 2001, which no writing leaves behind."""
LOCKS = "locks"
DIGITS = frozenset("0123456789abcdef")


def stage(store: Store, cache: Path, places: Mapping[Path, str], staging: Staging) -> None:
    """Put artifacts at places, as read-only files or folders of them. Safe among threads, processes and machines that share the cache.

    Raises NotFound or Broken for an artifact that the store has not got or has wrong, Unavailable where the disk refuses.
    """
    files = [(place / entry.path, entry) for place, name in places.items() for entry in store.files(name)]
    for place, name in places.items():
        if is_tree(name):
            place.mkdir(parents=True, exist_ok=True)
    share = _Share(sum(entry.size for _, entry in files), staging.told)
    try:
        fresh = [entry for place, entry in files if _put(store, cache, entry, place, share)]
    except OSError as error:
        raise disk_error(error, str(cache)) from error
    if fresh:
        evict(cache, staging.cache_bytes)


class _Share:
    """How much of all is there, told as it grows."""

    def __init__(self, total: int, told: Callable[[float], None]) -> None:
        self._total, self._done, self._told = total, 0, told

    def add(self, count: int) -> None:
        self._done += count
        self._told(self._done / self._total if self._total else 1.0)


def _put(store: Store, cache: Path, entry: Entry, place: Path, share: _Share) -> bool:
    """Put one file at a place by way of the cache, and tell whether it had to be fetched."""
    held, fetched = cache / entry.digest.removeprefix("sha256:"), False
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(cache, held.name):
        if _sound(held, entry.size):
            share.add(entry.size)
        else:
            held.unlink(missing_ok=True)
            _fetch(store, entry, held, share)
            fetched = True
        os.utime(held, ns=(time.time_ns(), CHECKED_NS))
        try:
            os.link(held, place)
        except OSError:  # a file system without links, or too many of one file
            store.materialise(entry.digest, place)
    return fetched


def _sound(held: Path, size: int) -> bool:
    try:
        seen = held.stat()
    except FileNotFoundError:
        return False
    return seen.st_size == size and seen.st_mtime_ns == CHECKED_NS


def _fetch(store: Store, entry: Entry, held: Path, share: _Share) -> None:
    """Copy a file from the store, going on with what an earlier try left. Raises Broken where the store's bytes are wrong."""
    part = held.with_name(f"{held.name}.part")
    resumed = part.exists()
    if not _copied(store, entry, part, share) and not (resumed and _copied(store, entry, part, share)):
        raise Broken(f"The stored bytes of {entry.digest} do not match its digest.", "Restore the object from a backup.")
    part.chmod(0o444)
    part.replace(held)


def _copied(store: Store, entry: Entry, part: Path, share: _Share) -> bool:
    """Complete a part file, and tell whether it is what it should be; one that is not is removed, and so is what fills the disk."""
    seen = hashlib.sha256()
    try:
        with part.open("a+b") as file:
            file.seek(0)
            while piece := file.read(PIECE):
                seen.update(piece)
                share.add(len(piece))
            with store.open(entry.digest) as source:
                source.seek(file.tell())
                while piece := source.read(PIECE):
                    seen.update(piece)
                    file.write(piece)
                    share.add(len(piece))
            file.flush()
            os.fsync(file.fileno())
            right = "sha256:" + seen.hexdigest() == entry.digest
            if not right:
                share.add(-file.tell())
    except OSError:
        part.unlink(missing_ok=True)
        raise
    if not right:
        part.unlink()
    return right


def evict(cache: Path, most_bytes: int) -> None:
    """Remove what has not been used for longest until a cache holds at most so many bytes; what is in use now is left."""
    found = [(path, path.stat()) for path in cache.iterdir() if path.is_file() and DIGITS.issuperset(path.name.removesuffix(".part"))]
    total = sum(seen.st_size for _, seen in found)
    for path, seen in sorted(found, key=lambda one: max(one[1].st_atime_ns, one[1].st_mtime_ns)):
        if total <= most_bytes:
            return
        with contextlib.suppress(BlockingIOError), _locked(cache, path.name, fcntl.LOCK_NB):
            path.unlink(missing_ok=True)
            total -= seen.st_size


@contextlib.contextmanager
def _locked(cache: Path, name: str, more: int = 0) -> Iterator[None]:
    """Hold the right to an entry, among all threads and processes that use the cache. Few locks serve many entries, and stay."""
    (cache / LOCKS).mkdir(mode=0o700, parents=True, exist_ok=True)
    with (cache / LOCKS / name[:2]).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | more)
        yield
