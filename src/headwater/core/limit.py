"""What a token may do at most, of all that its person may do: some permissions, within one organisation.

Pure. Permissions are names here: which there are, and who holds them, is `core.identity`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.core.errors import Refused


def covers(scope: str, path: str) -> bool:
    """Tell whether a scope takes in an organisation path."""
    return path == scope or path.startswith(scope + "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bound on what a token may do; None is no bound of that kind."""

    permissions: frozenset[str] | None = None
    organisation: str | None = None

    @property
    def bounds(self) -> bool:
        """Whether it bounds anything."""
        return self.permissions is not None or self.organisation is not None

    def names(self, permission: str) -> bool:
        """Tell whether a permission may be used at all."""
        return self.permissions is None or permission in self.permissions

    def allows(self, permission: str, organisation: str) -> bool:
        """Tell whether a permission may be used in an organisation."""
        return self.names(permission) and (self.organisation is None or covers(self.organisation, organisation))

    def within(self, scope: str) -> str | None:
        """Return the part of a scope that lies within the limit's organisation, or None where no part does."""
        if self.organisation is None or covers(self.organisation, scope):
            return scope
        return self.organisation if covers(scope, self.organisation) else None

    def __str__(self) -> str:
        what = "every permission" if self.permissions is None else " ".join(sorted(self.permissions))
        return what if self.organisation is None else f"{what} in {self.organisation}"


NO_LIMIT = Limit()


def narrowed(held: Limit, asked: Limit) -> Limit:
    """Return the limit of a token made by the holder of another: what is left open is as narrow as the holder's own.

    Raises Refused where more is asked than is held.
    """
    permissions = held.permissions if asked.permissions is None else asked.permissions
    organisation = asked.organisation or held.organisation
    wider = permissions is not None and held.permissions is not None and not permissions <= held.permissions
    if wider or (organisation is not None and held.organisation is not None and not covers(held.organisation, organisation)):
        raise Refused(f"Your own token is limited to {held}.", "Ask for no more than that, or sign in without a limit.")
    return Limit(permissions=permissions, organisation=organisation)


def to_text(permissions: frozenset[str] | None) -> str | None:
    """Return permissions as they are kept: names with a space between them."""
    return None if permissions is None else " ".join(sorted(permissions))


def from_text(kept: str | None) -> frozenset[str] | None:
    """Return the permissions that `to_text` wrote."""
    return None if kept is None else frozenset(kept.split())
