"""Lists of names and places, read once."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files


@cache
def words(file: str, key: str) -> frozenset[str]:
    """Return a list of blank-separated words of `<file>.toml` as a set."""
    return frozenset(_file(file)[key].split())


@cache
def characters(file: str, key: str) -> frozenset[str]:
    """Return every character of a list of `<file>.toml` as a set."""
    return frozenset(_file(file)[key]) - {" ", "\n"}


@cache
def _file(file: str) -> dict[str, str]:
    return tomllib.loads((files(__package__) / f"{file}.toml").read_text(encoding="utf-8"))
