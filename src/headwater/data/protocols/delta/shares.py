"""What a recipient sees over Delta Sharing: shares, schemas, tables, and the versions of a table.

The share `open` holds the tables that are for all. Each purpose that a recipient holds a grant for is a
share of its own, with the region of use where the grant binds it (`research@CN-BJ`): choosing the share
states both. Schemas are zones; `general` holds what is in no zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from headwater.core.errors import BadInput, NotFound
from headwater.data.authorisation.grants import Grant
from headwater.data.catalogue.sets import Version
from headwater.data.protocols.offers import Offer

OPEN = "open"
GRANTED = "granted"
"""The share of grants that bind no purpose."""
GENERAL = "general"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A table in a share."""

    share: str
    offer: Offer
    grant: str = ""
    """The statement of the grant that it is shared under; empty for open data."""
    purpose: str | None = None
    region: str | None = None

    @property
    def schema(self) -> str:
        """The zone that the table is in."""
        return self.offer.dataset.zone or GENERAL

    @property
    def name(self) -> str:
        """The data set's name."""
        return self.offer.dataset.name


def granted(offer: Offer, grant: Grant) -> list[Shared]:
    """Return a table as a grant shares it: once for each purpose and region that the grant names."""
    policy = grant.policy
    if "read" not in policy.actions:
        return []
    return [
        Shared(share=f"{purpose or GRANTED}@{region}" if region else purpose or GRANTED, offer=offer, grant=grant.statement, **told)
        for purpose in policy.purposes or (None,)
        for region in policy.regions or (None,)
        for told in [{"purpose": purpose, "region": region}]
    ]


def find_share(tables: Sequence[Shared], names: Sequence[str], share: str) -> str:
    """Return a share's name as it is written. Raises NotFound."""
    for name in (*names, *(one.share for one in tables)):
        if name.lower() == share.lower():
            return name
    raise NotFound(f"There is no share '{share[:100]}', or none that this token may see.", "List them with GET shares.")


def in_schema(tables: Sequence[Shared], share: str, schema: str) -> list[Shared]:
    """Return the tables of a schema of a share. Raises NotFound where there is no such schema."""
    found = [one for one in tables if one.share == share and one.schema.lower() == schema.lower()]
    if not found:
        raise NotFound(f"The share '{share}' has no schema '{schema[:100]}'.", "List them with GET schemas.")
    return found


def find_table(tables: Sequence[Shared], table: str) -> Shared:
    """Return a table by name. Raises NotFound."""
    for one in tables:
        if one.name.lower() == table.lower():
            return one
    raise NotFound(f"There is no table '{table[:100]}' in this schema.", "List them with GET tables.")


def with_tables(versions: Sequence[Version]) -> list[Version]:
    """Return the versions that hold a table, newest first. Raises NotFound where none does."""
    found = sorted((one for one in versions if one.table), key=lambda one: -one.number)
    if not found:
        raise NotFound("No version of this data set holds a table.", "Its files are at its page.")
    return found


def version_at(versions: Sequence[Version], number: int | None, timestamp: str | None) -> Version:
    """Return the version that a reader asks for: by number, as of a time, or the newest. Raises BadInput, NotFound."""
    if number is not None and timestamp is not None:
        raise BadInput("Both `version` and `timestamp` are given.", "Give one of them.")
    if number is not None:
        for one in versions:
            if one.number == number:
                return one
        raise NotFound(f"There is no version {number}.", f"There are: {_spoken(versions)}.")
    if timestamp is None:
        return versions[0]
    at = moment(timestamp)
    for one in versions:
        if one.created_at <= at:
            return one
    raise BadInput(f"The first version was published after {timestamp[:40]}.", f"There are: {_spoken(versions)}.")


def first_from(versions: Sequence[Version], timestamp: str) -> Version:
    """Return the first version published at or after a time. Raises BadInput where there is none."""
    at = moment(timestamp)
    found = [one for one in versions if one.created_at >= at]
    if not found:
        raise BadInput(f"No version was published at or after {timestamp[:40]}.", f"There are: {_spoken(versions)}.")
    return found[-1]


def moment(text: str) -> datetime:
    """Return a time that a client wrote. Raises BadInput."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"'{text[:40]}' is not a time.", "Write it as 2026-01-31T00:00:00Z.") from error
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _spoken(versions: Sequence[Version]) -> str:
    return ", ".join(f"{one.number} ({one.created_at:%Y-%m-%dT%H:%M:%SZ})" for one in versions[:20])
