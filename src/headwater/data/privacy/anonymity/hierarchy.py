"""Hierarchies: what each value of a column becomes at each level, from the value as it stands to `*`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headwater.core.errors import BadInput
from headwater.data.privacy.anonymity.declaration import Quasi

ANY = "*"
Value = str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """The levels of one column: `levels[i]` maps every value that occurs to what it becomes; a missing value stays missing up to `*`."""

    column: str
    levels: tuple[Mapping[Value, Value], ...]


def hierarchy(column: str, declared: Quasi, values: Sequence[Value]) -> Hierarchy:
    """Return the hierarchy of a column over its rows. Raises BadInput naming row and column of a value that it does not cover."""
    rows: dict[Value, int] = {}
    for row, value in enumerate(values):
        rows.setdefault(value, row)
    steps = _steps(column, declared)
    levels: list[dict[Value, Value]] = [{value: value for value in rows}]
    for step in steps:
        level: dict[Value, Value] = {}
        for value, row in rows.items():
            try:
                level[value] = None if value is None else step(value)
            except (KeyError, ValueError) as error:
                raise _uncovered(column, row, value or "", declared) from error
        levels.append(level)
    levels.append(dict.fromkeys(rows, ANY))
    return Hierarchy(column=column, levels=tuple(levels))


def _uncovered(column: str, row: int, value: str, declared: Quasi) -> BadInput:
    what = "is not a number" if declared.intervals is not None else "is not a value of the tree"
    return BadInput(f"'{value[:60]}' {what}.", "Correct the row, or cover the value.", where=f"row {row}, column '{column}'")


def _steps(column: str, declared: Quasi) -> list[Callable[[str], str]]:
    if declared.intervals is not None:
        return [_interval(width, declared.start) for width in declared.intervals]
    if declared.keep is not None:
        return [_prefix(kept) for kept in declared.keep]
    if declared.tree is not None:
        return [level.__getitem__ for level in tree_levels(column, declared.tree)]
    return []


def _interval(width: float, start: float) -> Callable[[str], str]:
    def step(value: str) -> str:
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(value)
        low = start + math.floor((number - start) / width) * width
        return f"[{low:g}, {low + width:g})"

    return step


def _prefix(kept: int) -> Callable[[str], str]:
    return lambda value: value[:kept] + ANY * max(0, len(value) - kept)


def tree_levels(column: str, tree: Any) -> list[dict[str, str]]:
    """Return a tree's levels, the finest first: each maps a leaf to its group. Raises BadInput where leaves differ in depth."""
    paths: dict[str, tuple[str, ...]] = {}

    def walk(node: Any, above: tuple[str, ...]) -> None:
        if isinstance(node, dict):
            for name, below in node.items():
                walk(below, (*above, str(name)))
        elif isinstance(node, list):
            for leaf in node:
                _add(paths, column, str(leaf), above)
        else:
            _add(paths, column, str(node), above)

    walk(tree, ())
    depths = {len(path): leaf for leaf, path in paths.items()}
    if len(depths) != 1:
        shallow, deep = depths[min(depths)], depths[max(depths)]
        raise BadInput(
            f"In the tree of '{column}', '{shallow}' lies {min(depths)} groups deep and '{deep}' {max(depths)}.",
            "Put every value at the same depth: repeat a group's name where it has no subgroups.",
        )
    depth = next(iter(depths))
    return [{leaf: path[level] for leaf, path in paths.items()} for level in range(depth - 1, -1, -1)]


def _add(paths: dict[str, tuple[str, ...]], column: str, leaf: str, path: tuple[str, ...]) -> None:
    if leaf in paths:
        raise BadInput(f"The value '{leaf}' stands twice in the tree of '{column}'.", "Keep one.")
    paths[leaf] = path
