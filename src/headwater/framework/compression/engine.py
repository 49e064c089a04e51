"""What a compression engine offers: settings by name, and for each a smaller form of a program that can be asked and weighed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.registry import Family

if TYPE_CHECKING:
    from torch import nn

    from headwater.framework.program.frozen import Program
    from headwater.framework.runtimes.runtime import Array, Ask

Batch = tuple["Array", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What engines may use: the program, inputs to calibrate on, and what only the user can give.

    `students` are smaller modules by name, to be taught what the model answers; `pairs` name linear layers whose hidden units may be
    taken out together (into, out of); `tune` trains a module a little further, in place.
    """

    program: Program
    calibration: Sequence[Batch] = ()
    students: Mapping[str, Callable[[], nn.Module]] = field(default_factory=dict)
    pairs: Sequence[tuple[str, str]] = ()
    tune: Callable[[nn.Module], None] | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A smaller form: how to ask it, the folder that holds all that is needed to run it, and how it was made."""

    ask: Ask
    folder: Path
    receipt: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine: its settings, and a function that makes a candidate of one of them in an empty folder.

    `settings` returns the settings that apply to what is given; `make` raises ImportError where a package is missing.
    """

    name: str
    settings: Callable[[Given], Sequence[str]]
    make: Callable[[Given, str, Path], Candidate]
    extra: str = ""


ENGINES: Family[Engine] = Family("compression", Engine)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
