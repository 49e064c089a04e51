"""The yearly disclosure of authorised operation, replayed from the ledger: the same year gives the same report, whenever it is asked for.

Owed by the end of March for the year before. The implementing body discloses itself, its authorisations and
the ceiling of the operating fee; the operator discloses itself, the authorised resources, its products and
services, and the actual prices. `report` is pure: entries in, report out.

Source: notice of 10 February 2026 on the disclosure of authorised operation of public data, in our own words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

from sqlalchemy import Connection, select

from headwater.core import ledger
from headwater.core.calendar import CITY_TIME
from headwater.core.clock import to_text
from headwater.core.errors import BadInput
from headwater.core.ledger import GENESIS, Entry, ledger_entry
from headwater.core.statement import REVOCATION, bare
from headwater.data.authorisation.policy import Policy, from_odrl

SCHEMA = "headwater.data-disclosure/1"


@dataclass(slots=True)
class _Line:
    """One authorisation as the year saw it."""

    number: str
    dataset: str
    body: str
    operator: str
    mode: str
    policy: Policy
    granted_at: datetime
    revoked_at: datetime | None = None
    allowed: int = 0
    refused: int = 0
    products: dict[str, dict[str, Any]] = field(default_factory=dict)

    def told(self, year_end: datetime) -> dict[str, Any]:
        ends = self.policy.ends_at
        ended = self.revoked_at is not None or (ends is not None and ends <= year_end)
        return {
            "number": self.number,
            "dataset": self.dataset,
            "mode": self.mode,
            "implementing_body": self.body,
            "operator": self.operator,
            "purposes": list(self.policy.purposes),
            "regions": list(self.policy.regions),
            "term": {"first_day": _day(self.policy.first_day), "last_day": _day(self.policy.last_day)},
            "fee_ceiling_fen": self.policy.fee_ceiling_fen,
            "standing_at_year_end": "ended" if ended else "in_force",
            "revoked_at": _text(self.revoked_at),
            "uses_allowed": self.allowed,
            "uses_refused": self.refused,
        }


def due(year: int) -> date:
    """Return the day by which a year's disclosure is owed."""
    return date(year + 1, 3, 31)


def of(connection: Connection, year: int) -> dict[str, Any]:
    """Return a year's disclosure. Raises BadInput for a year that is none."""
    if not 2000 <= year <= 2200:
        raise BadInput(f"{year} is no year to disclose.", "Give one such as 2026.")
    kinds = ("data.*", "organisation.added", "statement.kept")
    entries = [one for kind in kinds for one in ledger.entries(connection, kind=kind)]
    end = _start_of(year + 1)
    column = ledger_entry.c
    last = connection.execute(select(column.seq, column.hash).where(column.at < end).order_by(column.seq.desc()).limit(1)).first()
    return report(year, sorted(entries, key=lambda one: one.seq), head=(last.seq, last.hash) if last else (0, GENESIS))


def report(year: int, entries: Iterable[Entry], *, head: tuple[int, str]) -> dict[str, Any]:
    """Return a year's disclosure from the ledger's entries in their order; `head` names the last entry of that year. Pure."""
    start, end = _start_of(year), _start_of(year + 1)
    titles, names, lines = _replayed((one for one in entries if one.at < end), start)
    shown = [one for one in lines.values() if _touches(one, start, end)]
    for one in shown:
        one.dataset = names.get(one.dataset, one.dataset)
    return {
        "schema": SCHEMA,
        "year": year,
        "due": due(year).isoformat(),
        "ledger": {"entries": head[0], "head": head[1]},
        "implementing_bodies": [
            _organisation(path, titles) | {"authorisations": [one.told(end) for one in shown if one.body == path]}
            for path in sorted({one.body for one in shown})
        ],
        "operators": [
            _organisation(path, titles)
            | {
                "resources": [{"number": one.number, "dataset": one.dataset, "implementing_body": one.body} for one in mine],
                "products": [{"grant": one.number, **product} for one in mine for product in one.products.values()],
                "uses": sum(one.allowed for one in mine),
            }
            for path in sorted({one.operator for one in shown})
            for mine in [[one for one in shown if one.operator == path]]
        ],
    }


def _replayed(entries: Iterable[Entry], start: datetime) -> tuple[dict[str, str], dict[str, str], dict[str, _Line]]:
    """Return organisations' titles, data sets' names, and the authorisations with what happened to them."""
    titles: dict[str, str] = {}
    names: dict[str, str] = {}
    lines: dict[str, _Line] = {}
    for one in entries:
        line = lines.get(one.subject)
        match one.kind:
            case "organisation.added":
                titles[one.subject] = str(one.body.get("title", one.subject))
            case "data.declared":
                names[one.subject] = str(one.body["name"])
            case "data.grant.taken_up":
                lines[one.subject] = _line(one)
            case "statement.kept" if one.body.get("predicate_type") == REVOCATION:
                _revoke(lines, one)
            case "data.use.allowed" | "data.use.refused" if line is not None and one.at >= start:
                line.allowed += one.kind == "data.use.allowed"
                line.refused += one.kind == "data.use.refused"
            case "data.product.priced" if line is not None:
                told = {name: one.body[name] for name in ("name", "kind", "price_fen", "unit")}
                line.products[told["name"]] = told | {"since": to_text(one.at)}
    return titles, names, lines


def _line(entry: Entry) -> _Line:
    body = entry.body
    return _Line(
        number=body["number"],
        dataset=body["dataset"],
        body=body["organisation"],
        operator=body["grantee"],
        mode=body["mode"],
        policy=from_odrl(body["policy"]),
        granted_at=entry.at,
    )


def _revoke(lines: Mapping[str, _Line], entry: Entry) -> None:
    ended = set(entry.body.get("subjects", ()))
    for statement, line in lines.items():
        if bare(statement) in ended and line.revoked_at is None:
            line.revoked_at = entry.at


def _touches(line: _Line, start: datetime, end: datetime) -> bool:
    """Tell whether an authorisation was in force at some time of the year."""
    begins = line.policy.starts_at or line.granted_at
    ends = min([at for at in (line.revoked_at, line.policy.ends_at) if at is not None], default=end)
    return begins < end and ends > start


def _organisation(path: str, titles: Mapping[str, str]) -> dict[str, Any]:
    return {"organisation": path, "title": titles.get(path, path)}


def _start_of(year: int) -> datetime:
    return datetime.combine(date(year, 1, 1), time(), CITY_TIME)


def _day(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None


def _text(at: datetime | None) -> str | None:
    return to_text(at) if at is not None else None
