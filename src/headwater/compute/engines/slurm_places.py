"""Which job or element of Slurm each attempt is, and what is left to do with the arrays whose attempts have begun."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.compute.engines import slurm_turns
from headwater.compute.engines.slurm_arrays import FOLDER, Place, keys_of, number_in, place_of

AGAIN_S = 1.0
"""After which Slurm is asked again to let an array run as wide as it can."""


@dataclass(slots=True, kw_only=True)
class Array:
    """An array under way: Slurm's number, the attempts that are not known to have begun, and since when one has."""

    name: str
    number: str
    count: int
    waiting: set[str]
    began_s: float | None = None
    asked_s: float = 0.0

    def is_slow(self, now_s: float) -> bool:
        """Tell whether its attempts are seen to be longer than starting elements is worth sparing for."""
        if self.began_s is None or now_s - self.began_s < slurm_turns.SHARE_S:
            return False
        return (self.count - len(self.waiting)) * slurm_turns.SHORT_S < (now_s - self.began_s) * slurm_turns.FIRST


class Places:
    """Where attempts are in Slurm, as the folders say; what cannot change any more is read once. Safe for several threads."""

    def __init__(self, root: Path) -> None:
        """Read below the engine's folder."""
        self._root = root
        self._jobs: dict[str, tuple[str, str]] = {}
        self._submitted: dict[str, tuple[Place, str]] = {}
        self._arrays: dict[str, Array] = {}

    def submitted(self, name: str, number: str, keys: Sequence[str]) -> None:
        """Take up an array that Slurm was given under a number."""
        self._follow(name, number, keys)
        self._submitted |= {key: (Place(name=name, index=index), number) for index, key in enumerate(keys)}

    def job_of(self, key: str) -> tuple[str, str] | None:
        """Return Slurm's id of what runs an attempt, or is to run it, and the job's name; None where it has none yet."""
        if (known := self._jobs.get(key)) is not None:
            return known
        if (found := self._found(key)) is None:
            return None
        place, number = found
        runs = place.job(number)
        if place.index is not None:
            taken = slurm_turns.holder(self._folder(place.name), place.index)
            if taken is None or taken == slurm_turns.SERVER:
                return runs, place.name
            runs = taken
            self.settle(key)
        self._jobs[key] = runs, place.name
        return self._jobs[key]

    def take(self, key: str, job: str = "") -> bool:
        """See to it that no element begins an attempt any more, and tell whether that is so; `job` may have begun it."""
        place = place_of(self._root / key)
        if place is None or place.index is None:
            return True
        array = self._folder(place.name)
        try:
            if slurm_turns.claim(array, place.index, slurm_turns.SERVER):
                return True
        except FileNotFoundError:
            return True  # the array is gone, with all its attempts
        except OSError:
            return False  # the disk is full: later
        return slurm_turns.holder(array, place.index) in (slurm_turns.SERVER, job)

    def settle(self, key: str) -> None:
        """Note that an attempt has begun or ended."""
        found = self._found(key)
        array = self._arrays.get(found[0].name) if found is not None else None
        if array is not None:
            array.waiting.discard(key)
            array.began_s = array.began_s or time.monotonic()

    def settled(self) -> Collection[Array]:
        """Return the arrays all of whose attempts have begun, each until `done` with it."""
        return [array for array in list(self._arrays.values()) if not array.waiting]

    def slow(self) -> Collection[Array]:
        """Return the arrays that are to run wider, each but once in a while."""
        now_s = time.monotonic()
        found = [one for one in list(self._arrays.values()) if now_s - one.asked_s > AGAIN_S and one.is_slow(now_s)]
        for array in found:
            array.asked_s = now_s
        return found

    def done(self, array: Array) -> None:
        """Let go of an array."""
        self._arrays.pop(array.name, None)

    def forget(self, key: str) -> None:
        """Let go of an attempt."""
        self._jobs.pop(key, None)
        self._submitted.pop(key, None)

    def _found(self, key: str) -> tuple[Place, str] | None:
        if (found := self._submitted.get(key)) is not None:
            return found
        place = place_of(self._root / key)
        number = number_in(place.folder(self._root / key)) if place is not None else None
        if place is None or number is None:
            return None
        if place.index is not None and place.name not in self._arrays:
            self._follow(place.name, number, keys_of(self._root, place.name))
        self._submitted[key] = place, number
        return place, number

    def _follow(self, name: str, number: str, keys: Sequence[str]) -> None:
        if keys:
            self._arrays[name] = Array(name=name, number=number, count=len(keys), waiting=set(keys))

    def _folder(self, name: str) -> str:
        return str(self._root / FOLDER / name)
