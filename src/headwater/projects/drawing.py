"""Where each job of a run stands in its picture: left to right by what it needs, streams between them.

Pure: names and edges in, places in pixels out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BOX_WIDTH, BOX_HEIGHT = 106, 44
GAP_X, GAP_Y = 24, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A job's place."""

    name: str
    x: int
    y: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A line from one job to one that needs it; `path` is SVG path data, `far` tells that it passes over a column."""

    source: str
    target: str
    path: str
    far: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A whole picture, in pixels."""

    width: int
    height: int
    boxes: tuple[Box, ...]
    streams: tuple[Stream, ...]


def draw(names: Sequence[str], needs: Mapping[str, Sequence[str]]) -> Picture:
    """Return the picture of a graph whose names come in an order in which they can run.

    A job stands one column right of the last job that it needs; within a column, near the jobs it needs.
    """
    columns = _columns(names, needs)
    places: dict[str, Box] = {}
    taken: dict[int, int] = {}
    for name in sorted(names, key=lambda one: (columns[one], _height(one, needs, places), names.index(one))):
        column = columns[name]
        row = taken.get(column, 0)
        taken[column] = row + 1
        places[name] = Box(name=name, x=column * (BOX_WIDTH + GAP_X) + 1, y=row * (BOX_HEIGHT + GAP_Y) + 1)
    width = (max(columns.values(), default=0) + 1) * (BOX_WIDTH + GAP_X) - GAP_X + 2
    height = max(taken.values(), default=1) * (BOX_HEIGHT + GAP_Y) - GAP_Y + 2 + _detour(names, needs, columns)
    streams = tuple(_stream(places[need], places[name], columns) for name in names for need in needs.get(name, ()) if need in places)
    return Picture(width=width, height=height, boxes=tuple(places[name] for name in names), streams=streams)


def _columns(names: Sequence[str], needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for name in names:
        columns[name] = max((columns[need] + 1 for need in needs.get(name, ()) if need in columns), default=0)
    return columns


def _height(name: str, needs: Mapping[str, Sequence[str]], places: Mapping[str, Box]) -> float:
    above = [places[need].y for need in needs.get(name, ()) if need in places]
    return sum(above) / len(above) if above else 0.0


def _stream(source: Box, target: Box, columns: Mapping[str, int]) -> Stream:
    """Return the line between two boxes; one that passes over a column bends below the row it starts in."""
    left, right = source.x + BOX_WIDTH, target.x
    start, end = source.y + BOX_HEIGHT // 2, target.y + BOX_HEIGHT // 2
    far = columns[target.name] - columns[source.name] > 1
    if not far:
        middle = (left + right) // 2
        path = f"M{left} {start}C{middle} {start} {middle} {end} {right} {end}"
    else:
        low = max(source.y, target.y) + BOX_HEIGHT + GAP_Y // 2
        path = f"M{left} {start}c12 0 6 {low - start} 18 {low - start}H{right - 18}c12 0 6 {end - low} 18 {end - low}"
    return Stream(source=source.name, target=target.name, path=path, far=far)


def _detour(names: Sequence[str], needs: Mapping[str, Sequence[str]], columns: Mapping[str, int]) -> int:
    passes = any(columns[name] - columns.get(need, columns[name]) > 1 for name in names for need in needs.get(name, ()))
    return GAP_Y if passes else 0
