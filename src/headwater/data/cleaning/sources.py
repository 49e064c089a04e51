"""What a cleaning run reads: files and folders, each with its form; and the bytes of one, unpacked within bounds.

JSON lines and CSV, plain or packed with zstd or gzip; Parquet; folders of text files, of which each is a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headwater.core.errors import BadInput, LimitExceeded, NotFound

Form = Literal["jsonl", "csv", "parquet", "text", "images"]
ENDINGS: dict[str, Form] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
TEXT_ENDINGS = (".txt", ".md", ".rst")
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp")
PACKED = {".zst": "zstd", ".gz": "gzip"}
MAGIC = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip"}
MIB = 1 << 20
BLOCK = 1 << 20
RATIO_COUNTS_FROM = 64 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a run takes at most."""

    input_mib: int = 1 << 20
    """Of all input, unpacked."""
    document_mib: int = 64
    """Of one document."""
    ratio: int = 200
    """How many times larger than its file unpacked data may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One input: a file, or a folder of text files."""

    path: Path
    name: str
    form: Form
    packed: str | None
    size: int
    changed_ns: int
    files: tuple[Path, ...] = ()

    def told(self) -> dict[str, Any]:
        """Return what must stay as it is for a run to go on where it stopped."""
        return {"name": self.name, "form": self.form, "size": self.size, "changed_ns": self.changed_ns, "files": len(self.files)}


def find(inputs: Sequence[Path]) -> tuple[Source, ...]:
    """Return the sources that files and folders hold, in the order given, a folder's by name. Links are not followed."""
    found: list[Source] = []
    for path in inputs:
        if path.is_dir():
            found += _folder(path)
        elif path.is_file():
            found.append(_file(path, printable(path.name)))
        else:
            raise NotFound(f"There is no file or folder '{printable(str(path))}'.", "Check the path.")
    if not found:
        raise BadInput("The input holds no documents.", f"Files that are read end with {', '.join((*ENDINGS, *TEXT_ENDINGS))}.")
    return tuple(found)


def find_images(inputs: Sequence[Path]) -> tuple[Source, ...]:
    """Return the folders of images, each with its files by name. Links are not followed."""
    found = []
    for folder in inputs:
        if not folder.is_dir():
            raise BadInput(f"'{printable(str(folder))}' is not a folder.", "Images are cleaned folder by folder.")
        files = tuple(
            sorted(one for one in folder.rglob("*") if one.suffix.lower() in IMAGE_ENDINGS and one.is_file() and not one.is_symlink())
        )
        if not files:
            raise BadInput("The folder holds no images.", f"Images end with {', '.join(IMAGE_ENDINGS)}.", where=printable(str(folder)))
        stats = [one.stat() for one in files]
        size, changed = sum(one.st_size for one in stats), max(one.st_mtime_ns for one in stats)
        found.append(
            Source(path=folder, name=printable(folder.name), form="images", packed=None, size=size, changed_ns=changed, files=files)
        )
    return tuple(found)


def printable(name: str) -> str:
    """Return a file name without what would break a line or a terminal."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in name)


def _folder(folder: Path) -> list[Source]:
    inside = sorted((one for one in folder.rglob("*") if one.is_file() and not one.is_symlink()), key=lambda one: str(one))
    texts = tuple(one for one in inside if one.suffix.lower() in TEXT_ENDINGS)
    sources = [_file(one, printable(str(one.relative_to(folder)))) for one in inside if _form_by_name(one) is not None]
    if texts:
        stats = [one.stat() for one in texts]
        sources.append(
            Source(
                path=folder,
                name=printable(folder.name),
                form="text",
                packed=None,
                size=sum(one.st_size for one in stats),
                changed_ns=max(one.st_mtime_ns for one in stats),
                files=texts,
            )
        )
    return sources


def _file(path: Path, name: str) -> Source:
    stat = path.stat()
    with path.open("rb") as file:
        head = file.read(64)
    packed = next((kind for magic, kind in MAGIC.items() if head.startswith(magic)), None)
    form = _form_by_name(path) or ("parquet" if head.startswith(b"PAR1") else _form_by_content(path, packed))
    one = (path,) if form == "text" else ()
    return Source(path=path, name=name, form=form, packed=packed, size=stat.st_size, changed_ns=stat.st_mtime_ns, files=one)


def _form_by_name(path: Path) -> Form | None:
    ending = Path(path.stem).suffix if path.suffix.lower() in PACKED else path.suffix
    return ENDINGS.get(ending.lower())


def _form_by_content(path: Path, packed: str | None) -> Form:
    if path.suffix.lower() in TEXT_ENDINGS:
        return "text"
    with opened(path, packed) as stream:
        head = bytes(stream.read(4096)).removeprefix(b"\xef\xbb\xbf").lstrip()
    return "jsonl" if head.startswith(b"{") or not head else "csv"


def opened(path: Path, packed: str | None) -> Any:
    """Return a stream of a file's bytes, unpacked."""
    import pyarrow as pa

    raw = pa.OSFile(str(path), "rb")
    return raw if packed is None else pa.CompressedInputStream(raw, packed)


class Meter:
    """Counts the unpacked bytes of a whole run and refuses more than its limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.read = 0

    def blocks(self, source: Source) -> Iterator[bytes]:
        """Give the unpacked bytes of a source, block by block. Raises LimitExceeded or BadInput."""
        own = 0
        try:
            with opened(source.path, source.packed) as stream:
                while block := bytes(stream.read(BLOCK)):
                    own += len(block)
                    self.count(len(block), source)
                    if source.packed and own > RATIO_COUNTS_FROM and own > self.limits.ratio * max(source.size, 1):
                        raise LimitExceeded(
                            f"{own / MIB:.0f} MiB came out of {source.size / MIB:.2f} MiB; the limit is {self.limits.ratio} times.",
                            "It may be made to fill the disk. Where it is not, unpack it first.",
                            where=source.name,
                        )
                    yield block
        except OSError as error:
            if source.packed is None:
                raise
            raise BadInput(f"It cannot be unpacked: {error}.", "It may be cut short: copy it again.", where=source.name) from error

    def count(self, size: int, source: Source) -> None:
        """Count unpacked bytes. Raises LimitExceeded past the limit of the run."""
        self.read += size
        if self.read > self.limits.input_mib * MIB:
            raise LimitExceeded(
                f"The input has more than {self.limits.input_mib} MiB, which is the limit.",
                "Give less, or raise the limit of the input.",
                where=source.name,
            )
