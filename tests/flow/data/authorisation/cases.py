"""An applicant and an officer who take a case of `data-authorisation` to its grant, through the real procedure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headwater.core import identity
from headwater.core.db import Connection
from headwater.core.platform import Platform
from headwater.data.authorisation import grants
from headwater.data.authorisation.grants import Grant
from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import DataSet, identity_of
from headwater.programmes import casework, definition
from headwater.programmes.cases import Record, party
from headwater.programmes.engine import Move

OPERATOR = "city/operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A platform with an operator's developer who applies, and an officer of the city who decides."""

    site: Platform
    applicant: str
    officer: str

    def fields(self, dataset: DataSet, /, **more: Any) -> dict[str, Any]:
        """Return an application's form; `more` replaces its fields."""
        told = {
            "dataset": dataset.name,
            "resource": identity_of(dataset.id),
            "mode": dataset.openness,
            "actions": "both",
            "purposes": "traffic_management",
            "regions": "CN-BJ",
            "term_from": "2026-01-01",
            "term_until": "2026-12-31",
            "uses": 5,
            "fee_ceiling_fen": 1000,
            "safeguards": "encrypted at rest, named people only",
        }
        return told | more

    def granted(self, dataset: DataSet, /, **more: Any) -> Grant:
        """Take an application through submission and review, and return the grant that is taken up."""
        record = self.move(self.move(self.apply(dataset, **more), "submit", self.applicant), "grant", self.officer)
        assert record.statement is not None
        grants.take_up(self.site)
        with self.site.db.read() as connection:
            return grants.find(connection, record.statement)

    def apply(self, dataset: DataSet, /, **more: Any) -> Record:
        """Open a case."""
        procedure = definition.named("data-authorisation")
        who = party(self.actor(self.applicant), procedure, OPERATOR)
        new = casework.NewCase(definition=procedure, organisation=OPERATOR, fields=self.fields(dataset, **more), who=who)
        return casework.open_case(self.site, new)

    def move(self, record: Record, transition: str, person: str, reason: str = "") -> Record:
        """Make a transition as a person."""
        who = party(self.actor(person), record.definition, record.organisation)
        wish = Move(transition=transition, who=who, at=self.site.clock.now(), reasons=(reason,) if reason else ())
        return casework.decide(self.site, record.id, wish, version=record.case.version)

    def actor(self, person: str) -> identity.Actor:
        """Return a person with their grants."""
        with self.site.db.read() as connection:
            return identity.load_actor(connection, person, now=self.site.clock.now())


def desk_on(site: Platform) -> Desk:
    """Add the two people to a platform."""
    at = site.clock.now()

    def work(connection: Connection) -> tuple[str, str]:
        identity.add_organisation(connection, OPERATOR, "Operator", actor="test", at=at)
        applicant = identity.add_person(connection, "applicant", OPERATOR, actor="test", at=at)
        identity.grant(connection, applicant, "developer", OPERATOR, reason="test", actor="test", at=at)
        officer = identity.add_person(connection, "officer", identity.ROOT, actor="test", at=at)
        identity.grant(connection, officer, "officer", identity.ROOT, reason="test", actor="test", at=at)
        return applicant, officer

    applicant, officer = site.db.write(work)
    return Desk(site=site, applicant=applicant, officer=officer)


def dataset_of(site: Platform, name: str) -> DataSet:
    """Return a data set by name."""
    with site.db.read() as connection:
        return sets.find(connection, name)


def moment(text: str) -> datetime:
    """Return a time from its text."""
    return datetime.fromisoformat(text)
