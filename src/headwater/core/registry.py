"""Plug-in families: steps, engines, trust measures. One way to find a member by name.

A member is an entry point in the group `headwater.<family>`: Headwater's own members are declared in
its `pyproject.toml` exactly as a third party declares theirs. Names are listed without importing;
a member's module is imported when it is asked for.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from headwater.core.errors import NotFound, Unavailable

T = TypeVar("T")


@cache
def _entry_points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


class Family(Generic[T]):
    """All members of one kind of plug-in."""

    def __init__(self, name: str, member: type[T]) -> None:
        """Open a family: `name` is the entry-point group's last part, `member` the type every member has."""
        self.name = name
        self.member = member

    def names(self) -> tuple[str, ...]:
        """Return the members' names in order, without importing any."""
        return tuple(sorted(_entry_points(f"headwater.{self.name}")))

    def get(self, name: str) -> T:
        """Return a member. Raises NotFound for an unknown name, Unavailable where it cannot be imported."""
        point = _entry_points(f"headwater.{self.name}").get(name)
        if point is None:
            raise NotFound(f"There is no {self.name[:-1]} '{name}'.", f"There are: {', '.join(self.names())}.")
        try:
            found = point.load()
        except ImportError as error:
            raise Unavailable(f"The {self.name[:-1]} '{name}' could not be loaded: {error}.", "Install the package it needs.") from error
        if not isinstance(found, self.member):
            raise Unavailable(f"'{name}' is not a {self.member.__name__}.", f"Ask the author of '{point.value}'.")
        return found
