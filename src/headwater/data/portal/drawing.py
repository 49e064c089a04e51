"""Where each part of a lineage stands in its picture: left what things were made from, right what was made. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headwater.core.statement import bare
from headwater.data.lineage import Made

WIDTH, HEIGHT = 168, 46
GAP_X, GAP_Y = 46, 14
MOST_BOXES = 40
LONGEST = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A thing that was made, or given: its name, what made it, and its place."""

    name: str
    below: str
    x: int
    y: int
    href: str = ""
    here: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A whole picture, in pixels; `left_out` counts what did not fit."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    lines: tuple[str, ...]
    left_out: int


def draw(root: str, name: str, steps: Sequence[Made], known: Mapping[str, tuple[str, str]]) -> Picture:
    """Return the picture of what a version was made of.

    `steps` come nearest first; `known` gives name and address of artifacts that are data sets of the catalogue.
    """
    made = {bare(one.digest): one for one in reversed(steps)}
    names = {bare(value): label for one in steps for label, value in one.inputs.items()}
    columns = _columns(bare(root), made)
    shown = list(columns)[:MOST_BOXES]
    deepest = max((columns[one] for one in shown), default=0)
    places: dict[str, Box] = {}
    taken: dict[int, int] = {}
    for digest in shown:
        column = columns[digest]
        row = taken[column] = taken.get(column, -1) + 1
        title, href = known.get(digest, (name if digest == bare(root) else names.get(digest, digest[:12]), ""))
        below = made[digest].step if digest in made else digest[:12]
        x, y = (deepest - column) * (WIDTH + GAP_X) + 1, row * (HEIGHT + GAP_Y) + 1
        places[digest] = Box(name=_cut(title), below=_cut(below), x=x, y=y, href=href, here=digest == bare(root))
    lines = tuple(
        _line(places[bare(value)], places[digest])
        for digest in shown
        if digest in made
        for value in dict.fromkeys(made[digest].inputs.values())
        if bare(value) in places and columns[bare(value)] > columns[digest]
    )
    width = (deepest + 1) * (WIDTH + GAP_X) - GAP_X + 2
    height = (max(taken.values(), default=0) + 1) * (HEIGHT + GAP_Y) - GAP_Y + 2
    return Picture(width=width, height=height, boxes=tuple(places.values()), lines=lines, left_out=len(columns) - len(shown))


def _columns(root: str, made: Mapping[str, Made]) -> dict[str, int]:
    """Return how many steps each thing lies before the version, the nearest first."""
    found, pending = {root: 0}, [root]
    while pending:
        digest = pending.pop(0)
        for value in made[digest].inputs.values() if digest in made else ():
            if bare(value) not in found:
                found[bare(value)] = found[digest] + 1
                pending.append(bare(value))
    return found


def _line(source: Box, target: Box) -> str:
    left, right, start, end = source.x + WIDTH, target.x, source.y + HEIGHT // 2, target.y + HEIGHT // 2
    middle = (left + right) // 2
    return f"M{left} {start}C{middle} {start} {middle} {end} {right} {end}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
