"""The application's routes by the first words of their paths, so that a request is held against few patterns and not against all.

FastAPI tries its routes one after the other, and those of an included router once more when it has found one; with two hundred routes
that took a third of the time of a short answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from fastapi import APIRouter
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

ANY = ""
"""The branch of a path whose first words are not fixed, such as `/catalog.{form}`."""


def branch_of(path: str) -> str:
    """Return the first word of a path, and the second where the first is `api`."""
    words = path.split("/", 3)
    return "/".join(words[:3] if words[1:2] == ["api"] else words[:2])


def declared(path: str) -> str:
    """Return the branch of a route's path: ANY where a parameter stands in its first words."""
    branch = branch_of(path)
    return ANY if "{" in branch else branch


class Branch(APIRouter):
    """Some routes of a router, which are looked at only for paths that can be theirs."""

    def __init__(self, routes: Sequence[BaseRoute], branches: Collection[str]) -> None:
        super().__init__()
        self.routes.extend(routes)
        self._branches = None if ANY in branches else frozenset(branches)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return how a request fits: not at all where its path's first words are others."""
        return super().matches(scope) if self.may_take(scope["path"]) else (Match.NONE, {})

    def may_take(self, path: str) -> bool:
        """Tell whether a route here can be the path's."""
        return self._branches is None or branch_of(path) in self._branches


def split(router: APIRouter) -> Iterator[Branch]:
    """Yield a router's routes by branch, in the order in which they were declared; a router that it includes stays whole."""
    alike: dict[frozenset[str], list[BaseRoute]] = {}
    for route in router.routes:
        alike.setdefault(frozenset(_branches([route])), []).append(route)
    for branches, routes in alike.items():
        yield Branch(routes, branches)


def _branches(routes: Iterable[BaseRoute]) -> Iterator[str]:
    for context in iter_route_contexts(list(routes)):
        yield declared(str(context.path))
