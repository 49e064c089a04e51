"""What changed between versions of a table, file by file: the change data feed of Delta Sharing. Pure.

A version is a set of Parquet files. The rows of a file that is new in it were inserted, those of a file that
is gone were deleted, and a file of the same content is no change. Rows that moved unchanged into another file are
told as both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headwater.core.errors import BadInput
from headwater.data.catalogue.sets import File, Version
from headwater.data.protocols.delta.shares import first_from, version_at

Kind = Literal["add", "remove"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A file that came with a version, or went; `holder` is the version that has it."""

    kind: Kind
    version: Version
    holder: Version
    file: File


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when to when: each end by version or by time, the last open."""

    starting_version: int | None = None
    starting_timestamp: str | None = None
    ending_version: int | None = None
    ending_timestamp: str | None = None


def chosen(versions: Sequence[Version], span: Span) -> list[Version]:
    """Return the versions of a span, oldest first; `versions` come newest first. Raises BadInput, NotFound."""
    if (span.starting_version is None) == (span.starting_timestamp is None):
        raise BadInput("Changes start at a version or at a time.", "Give one of `startingVersion` and `startingTimestamp`.")
    if span.starting_timestamp is not None:
        first = first_from(versions, span.starting_timestamp)
    else:
        first = version_at(versions, span.starting_version, None)
    last = version_at(versions, span.ending_version, span.ending_timestamp)
    if last.number < first.number:
        raise BadInput(f"The changes would end at version {last.number}, before they start at {first.number}.", "Turn them round.")
    return [one for one in reversed(versions) if first.number <= one.number <= last.number]


def changes(versions: Sequence[Version], wanted: Sequence[Version]) -> list[Change]:
    """Return the changes that the wanted versions made, oldest first. Raises BadInput where the columns changed among them."""
    before = {one.number: earlier for one, earlier in zip(versions, [*versions[1:], None], strict=True)}
    found: list[Change] = []
    for version in wanted:
        earlier = before[version.number]
        if earlier is not None and earlier.columns != version.columns:
            raise BadInput(f"The columns changed in version {version.number}.", "Ask for changes after it, or read whole versions.")
        held = earlier.table if earlier is not None else ()
        if earlier is not None:
            found += [Change(kind="remove", version=version, holder=earlier, file=one) for one in _more(held, version.table)]
        found += [Change(kind="add", version=version, holder=version, file=one) for one in _more(version.table, held)]
    return found


def _more(files: Sequence[File], than: Sequence[File]) -> list[File]:
    """Return the files whose content the others do not have, or have fewer times."""
    left = Counter(one.digest for one in than)
    found = []
    for one in files:
        if left[one.digest] > 0:
            left[one.digest] -= 1
        else:
            found.append(one)
    return found
