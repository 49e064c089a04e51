"""The compatibility matrix: made of the records that the platform holds, never of claims. What nobody recorded is an empty row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from headwater.core import evidence, statement
from headwater.core.errors import BadInput
from headwater.core.platform import Platform
from headwater.framework.chips.adapter import Adapter, adapters
from headwater.framework.chips.record import RecordRow, claim

MOST_RECORDS = 500
COLUMNS = ("fp64", "fp32", "bf16", "fp16", "fp8", "int64")
KINDS = ("operator", "gradient", "collective")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How many cases work of those that were tried."""

    works: int
    tried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record that is held: its statement, who signed it, why it is not valid (empty: it is), and what it says."""

    digest: str
    signed_by: tuple[str, ...]
    why: str
    record: RecordRow

    def cell(self, kind: str, dtype: str) -> Cell:
        """Return how many cases of a kind work in a format."""
        verdicts = Counter(one.verdict for one in self.record.outcomes if one.kind == kind and one.dtype == dtype)
        return Cell(works=verdicts["works"], tried=verdicts.total())

    @property
    def gaps(self) -> list[tuple[str, str, list[str], str, str]]:
        """Return what does not work: kind, name, formats, verdict, and the device's words; alike formats together."""
        found: dict[tuple[str, str, str], tuple[list[str], str]] = {}
        for one in self.record.outcomes:
            if one.verdict != "works":
                found.setdefault((one.kind, one.name, one.verdict), ([], one.said))[0].append(one.dtype)
        return [(kind, name, formats, verdict, said) for (kind, name, verdict), (formats, said) in found.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A vendor with its records, newest first; none where nobody has run the suite on its chips."""

    adapter: Adapter
    chips: int
    entries: Sequence[Entry]


def held(platform: Platform, connection: Connection, now: datetime) -> tuple[Entry, ...]:
    """Return the calibration records that the platform holds, newest first."""
    column = evidence.statements.c
    query = select(column.digest).where(column.predicate_type == statement.CALIBRATION).order_by(column.issued_at.desc())
    return tuple(one for (digest,) in connection.execute(query.limit(MOST_RECORDS)) if (one := entry(platform, connection, digest, now)))


def entry(platform: Platform, connection: Connection, digest: str, now: datetime) -> Entry | None:
    """Return one record by its statement's digest, or None where the statement holds none that can be read. Raises NotFound."""
    one = evidence.get(connection, digest)
    try:
        told = RecordRow.model_validate(dict(one.statement.predicate))
    except ValueError:
        return None
    why = evidence.objection(connection, platform.keyring, one, now=now)
    return Entry(digest=digest, signed_by=evidence.signers(platform.keyring, one), why=why, record=told)


def rows(entries: Iterable[Entry]) -> tuple[Row, ...]:
    """Return one row for each vendor that there is an adapter of, and one for each that only records tell of."""
    by_vendor: dict[str, list[Entry]] = {}
    for one in entries:
        by_vendor.setdefault(one.record.device.vendor, []).append(one)
    known = adapters()
    made = [Row(adapter=one, chips=len(one.facts()), entries=by_vendor.pop(one.vendor, [])) for one in known]
    strange = [
        Row(adapter=Adapter(vendor=vendor, torch_device="", collective=""), chips=0, entries=kept) for vendor, kept in by_vendor.items()
    ]
    return tuple(sorted([*made, *strange], key=lambda row: (not row.entries, row.adapter.vendor)))


def keep(platform: Platform, told: RecordRow, *, actor: str) -> str:
    """Keep a record, signed by this platform, and return its statement's digest. Raises BadInput for one dated in the future."""
    if told.made_at > platform.clock.now():
        raise BadInput(f"The record is dated {told.made_at:%Y-%m-%d %H:%M}, which is in the future.", "Check the clocks.")
    return platform.db.write(lambda connection: evidence.issue(connection, platform.keyring, claim(told), actor=actor)).digest
