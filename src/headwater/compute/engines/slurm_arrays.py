"""Attempts that Slurm gets together: the folder of one array, and what each attempt's folder says of its place in it.

`<root>/.arrays/<name>/index.json` names the attempts in the order of their indices, and is there before Slurm hears of the array;
`slurm.json` beside it holds the array's number once Slurm has told it. An attempt's own `intent.json` names the array and the index.
Which element runs an attempt is not told by its index: see `slurm_turns.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.compute.engines import attempt, slurm_turns

FOLDER = ".arrays"
INTENT = "intent.json"
NUMBER = "slurm.json"
INDEX = "index.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How Slurm knows an attempt: the name of its job, and its index where that is an array."""

    name: str
    index: int | None

    def folder(self, own: Path) -> Path:
        """Return the folder in which the number of the job is noted, given the attempt's own."""
        return own if self.index is None else own.parent / FOLDER / self.name

    def job(self, number: str) -> str:
        """Return Slurm's id of the attempt, given the number of its job."""
        return number if self.index is None else f"{number}_{self.index}"


def place_of(folder: Path) -> Place | None:
    """Return what an attempt's folder says of its place, None where nothing was intended yet."""
    try:
        told = json.loads((folder / INTENT).read_text("utf-8"))
        return Place(name=str(told["name"]), index=told["index"])
    except (OSError, ValueError, KeyError):
        return None


def number_in(folder: Path) -> str | None:
    """Return the number of the job that is noted in a folder."""
    try:
        return str(json.loads((folder / NUMBER).read_text("utf-8"))["id"])
    except (OSError, ValueError, KeyError):
        return None


def note_number(folder: Path, number: str) -> None:
    """Note the number of a job."""
    attempt.write_json(folder / NUMBER, {"id": number})


def make(root: Path, prefix: str, keys: Sequence[str]) -> tuple[str, Path]:
    """Make the folder of an array of attempts, and return the array's name and that folder."""
    name = f"{prefix}array-{hashlib.sha256('/'.join(keys).encode()).hexdigest()[:16]}"
    folder = root / FOLDER / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    attempt.write_json(folder / INDEX, {"keys": list(keys)})
    return name, folder


def keys_of(root: Path, name: str) -> list[str]:
    """Return the keys of an array's attempts in the order of their indices; none where its folder is gone."""
    try:
        return list(json.loads((root / FOLDER / name / INDEX).read_text("utf-8"))["keys"])
    except (OSError, ValueError, KeyError):
        return []


def clear(root: Path, alive: Collection[str]) -> None:
    """Remove the folders of arrays of which no attempt's folder holds anything any more, but of those that are alive."""
    if not (root / FOLDER).is_dir():
        return
    for folder in (root / FOLDER).iterdir():
        if folder.name not in alive and not any((root / key / INTENT).exists() for key in keys_of(root, folder.name)):
            attempt.remove(folder)


def holdings(root: Path, name: str, number: str) -> dict[str, list[str]]:
    """Return the attempts of an array that each element has, or is to have, by Slurm's id; one that has none any more has an empty list."""
    found: dict[str, list[str]] = {}
    for index, key in enumerate(keys_of(root, name)):
        own, taken = f"{number}_{index}", slurm_turns.holder(str(root / FOLDER / name), index)
        found.setdefault(own, [])
        found.setdefault(own if taken in (None, slurm_turns.SERVER) else str(taken), []).append(key)
    return found


def idle(root: Path, name: str, number: str) -> list[str]:
    """Return the elements of an array that have no attempt any more, as ranges of Slurm's ids such as `12_[4-249]`."""
    held = holdings(root, name, number)
    ranges: list[tuple[int, int]] = []
    for index in range(len(keys_of(root, name))):
        if held[f"{number}_{index}"]:
            continue
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1] = ranges[-1][0], index
        else:
            ranges.append((index, index))
    return [f"{number}_[{first}-{last}]" if first < last else f"{number}_{first}" for first, last in ranges]


def had_by(element: str, held: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the attempts of an element, given those of all its array: of `12_*`, elements that wait and are not named, all."""
    return {key for keys in held.values() for key in keys} if element.endswith("_*") else set(held.get(element, ()))


def was_submitted(folder: Path) -> bool:
    """Tell whether an attempt is known to have reached Slurm."""
    place = place_of(folder)
    noted = place is not None and (place.folder(folder) / NUMBER).exists()
    return noted or any((folder / name).exists() for name in ("runner.json", "exit.json"))


def slurm_log(folder: Path) -> str:
    """Return the end of what an attempt's job or array printed beside the attempts' own logs."""
    place = place_of(folder)
    try:
        told = ((place.folder(folder) if place else folder) / "slurm.log").read_text("utf-8", errors="replace")
        return told.strip()[-500:] or "it printed nothing"
    except OSError:
        return "it left no log"
