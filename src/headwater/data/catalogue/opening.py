"""The opening plan: by when an organisation will open a data set, how often it will be updated, and who is late.

Lateness is never entered: `standing` computes it from the commitment, the versions and the clock, in the
city's days. A due date that falls on a day off moves to the next working day. Every change of the plan is
in the ledger, with the reason and what stood there before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, delete, false, insert, or_, select, update
from sqlalchemy.engine import Row

from headwater.core import identity, ledger
from headwater.core.calendar import add_months, local_day, next_working_day, published_through, working_days_after
from headwater.core.clock import to_text
from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.platform import Platform
from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import DataSet, Rhythm
from headwater.data.catalogue.tables import data_commitments, data_versions

State = Literal["planned", "late", "open", "update_late"]
MONTHS: Mapping[Rhythm, int] = {"monthly": 1, "quarterly": 3, "yearly": 12}
DAYS: Mapping[Rhythm, int] = {"daily": 1, "weekly": 7}
LONGEST_REASON = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """What was promised of a data set: its first day, who answers for it, and how often it is updated after that."""

    dataset: str
    due: date
    owner: str
    rhythm: Rhythm
    revision: int
    """How often the promise was made or changed; whoever changes it names the one that they saw."""
    changed_by: str
    changed_at: datetime
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return the commitment as JSON values."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return told | {"due": self.due.isoformat(), "changed_at": to_text(self.changed_at)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a commitment stands on a day: what is due next, and how late it is."""

    state: State
    next_due: date | None
    """None where nothing more is due."""
    working_days_late: int
    opened_on: date | None
    working_days_opened_late: int
    provisional: bool
    """Whether the due date lies beyond the last year whose days off are published."""

    def as_json(self) -> dict[str, Any]:
        """Return the standing as JSON values."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return told | {name: told[name].isoformat() if told[name] else None for name in ("next_due", "opened_on")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A line of the opening plan."""

    dataset: DataSet
    commitment: Commitment
    standing: Standing

    def as_json(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        shown: dict[str, Any] = {"name": self.dataset.name, "title": dict(self.dataset.title), "organisation": self.dataset.organisation}
        shown |= {"zone": self.dataset.zone, "openness": self.dataset.openness}
        return {**shown, "commitment": self.commitment.as_json(), "standing": self.standing.as_json()}


def standing(commitment: Commitment, first: datetime | None, last: datetime | None, now: datetime) -> Standing:
    """Return how a commitment stands, given when the first and the last version were published. Pure."""
    today = local_day(now)
    if first is None or last is None:
        due = next_working_day(commitment.due)
        late = working_days_after(due, today)
        return _standing("late" if today > due else "planned", due, late, None, 0)
    opened = local_day(first)
    opened_late = working_days_after(next_working_day(commitment.due), opened)
    update_due = next_update(commitment.rhythm, local_day(last))
    if update_due is None or today <= update_due:
        return _standing("open", update_due, 0, opened, opened_late)
    return _standing("update_late", update_due, working_days_after(update_due, today), opened, opened_late)


def next_update(rhythm: Rhythm, last: date) -> date | None:
    """Return the working day by which the next version is due; None for a data set without a rhythm."""
    if rhythm in MONTHS:
        return next_working_day(add_months(last, MONTHS[rhythm]))
    return next_working_day(last + timedelta(days=DAYS[rhythm])) if rhythm in DAYS else None


def _standing(state: State, due: date | None, late: int, opened: date | None, opened_late: int) -> Standing:
    return Standing(
        state=state,
        next_due=due,
        working_days_late=late,
        opened_on=opened,
        working_days_opened_late=opened_late,
        provisional=due is not None and due.year > published_through(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A commitment to enter or to change; `revision` is the one that the writer saw, 0 for none."""

    due: date
    owner: str
    rhythm: Rhythm
    reason: str
    revision: int


def commit(platform: Platform, name: str, promise: Promise, *, actor: str) -> Commitment:
    """Enter or change a data set's commitment. Raises NotFound, BadInput without a reason, Conflict where someone else changed it first."""
    reason = _reason(promise.reason)
    if not 2001 <= promise.due.year <= 2100:
        raise BadInput(f"{promise.due} is no day for a plan.", "Give one between 2001 and 2100.")
    now = platform.clock.now()

    def work(connection: Connection) -> Commitment:
        dataset = sets.find(connection, name)
        organisation = identity.organisations.c.path
        if connection.execute(select(organisation).where(organisation == promise.owner)).first() is None:
            raise NotFound(f"There is no organisation {promise.owner[:200]}.", "Add it first.")
        before = _held(connection, dataset, promise.revision)
        values: dict[str, Any] = {"due": promise.due, "owner": promise.owner, "rhythm": promise.rhythm, "revision": promise.revision + 1}
        values |= {"changed_by": actor, "changed_at": now, "reason": reason}
        if before is None:
            connection.execute(insert(data_commitments).values(dataset=dataset.id, **values))
        else:
            connection.execute(update(data_commitments).where(data_commitments.c.dataset == dataset.id).values(**values))
        after = Commitment(dataset=dataset.id, **values)
        _enter(connection, "data.plan.changed" if before else "data.plan.committed", dataset, before, after, reason, actor, now)
        return after

    return platform.db.write(work)


def cancel(platform: Platform, name: str, *, reason: str, revision: int, actor: str) -> None:
    """Take a data set's commitment out of the plan. Raises NotFound, BadInput without a reason, Conflict."""
    reason, now = _reason(reason), platform.clock.now()

    def work(connection: Connection) -> None:
        dataset = sets.find(connection, name)
        before = _held(connection, dataset, revision)
        if before is None:
            raise NotFound(f"The data set '{dataset.name}' has no commitment.", "See `headwater data plan`.")
        connection.execute(delete(data_commitments).where(data_commitments.c.dataset == dataset.id))
        _enter(connection, "data.plan.cancelled", dataset, before, None, reason, actor, now)

    platform.db.write(work)


def plan(connection: Connection, now: datetime, *, scopes: Iterable[str] | None = None) -> tuple[Planned, ...]:
    """Return the opening plan by due date: of all organisations, or of those within the scopes."""
    query = select(data_commitments).order_by(data_commitments.c.due, data_commitments.c.dataset)
    if scopes is not None:
        owner = data_commitments.c.owner
        query = query.where(or_(false(), *(owner.startswith(one + "/", autoescape=True) | (owner == one) for one in scopes)))
    commitments = [_commitment(row) for row in connection.execute(query).all()]
    published = _published(connection, [one.dataset for one in commitments])
    return tuple(_planned(sets.find(connection, one.dataset), one, published, now) for one in commitments)


def of(connection: Connection, dataset: DataSet, now: datetime) -> Planned | None:
    """Return a data set's line of the plan, if it has one."""
    row = connection.execute(select(data_commitments).where(data_commitments.c.dataset == dataset.id)).one_or_none()
    if row is None:
        return None
    return _planned(dataset, _commitment(row), _published(connection, [dataset.id]), now)


def changes(connection: Connection, dataset: DataSet) -> tuple[ledger.Entry, ...]:
    """Return every change of a data set's commitment, oldest first, from the ledger."""
    return tuple(ledger.entries(connection, kind="data.plan.*", subject=dataset.id))


def _planned(dataset: DataSet, commitment: Commitment, published: Mapping[str, tuple[datetime, datetime]], now: datetime) -> Planned:
    first, last = published.get(dataset.id, (None, None))
    return Planned(dataset=dataset, commitment=commitment, standing=standing(commitment, first, last, now))


def _published(connection: Connection, datasets: list[str]) -> dict[str, tuple[datetime, datetime]]:
    """Return when the first and last version of each data set were published."""
    found: dict[str, tuple[datetime, datetime]] = {}
    query = select(data_versions.c.dataset, data_versions.c.created_at).where(data_versions.c.dataset.in_(datasets))
    for dataset, at in connection.execute(query.order_by(data_versions.c.number)):
        found[dataset] = (found.get(dataset, (at, at))[0], at)
    return found


def _held(connection: Connection, dataset: DataSet, revision: int) -> Commitment | None:
    """Return the commitment that is there, kept from other writers. Raises Conflict where it is not at the revision."""
    row = connection.execute(select(data_commitments).where(data_commitments.c.dataset == dataset.id).with_for_update()).one_or_none()
    there = row.revision if row is not None else 0
    if there != revision:
        raise Conflict(f"The commitment is at revision {there}, not {revision}: somebody changed it.", "Look at it again.")
    return _commitment(row) if row is not None else None


def _enter(
    connection: Connection,
    kind: str,
    dataset: DataSet,
    before: Commitment | None,
    after: Commitment | None,
    reason: str,
    actor: str,
    at: datetime,
) -> None:
    body = {"name": dataset.name, "reason": reason, "before": _told(before), "after": _told(after)}
    ledger.append(connection, kind, subject=dataset.id, actor=actor, at=at, body=body)


def _told(commitment: Commitment | None) -> dict[str, Any] | None:
    if commitment is None:
        return None
    return {"due": commitment.due.isoformat(), "owner": commitment.owner, "rhythm": commitment.rhythm, "revision": commitment.revision}


def _commitment(row: Row[Any]) -> Commitment:
    return Commitment(**row._asdict())


def _reason(text: str) -> str:
    if not 0 < len(text.strip()) <= LONGEST_REASON:
        raise BadInput("A change of the opening plan needs a reason.", f"Give one of at most {LONGEST_REASON} characters.")
    return text.strip()
