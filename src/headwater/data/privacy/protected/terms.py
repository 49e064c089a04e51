"""Whether the terms of use allow a question: decided at every one, unless the data's own organisation or one above it asks.

A protected table holds a version of a data set. Where that data set is not open, a question needs a grant that allows
aggregates; the grant counts the use and the ledger keeps the decision, in the transaction that records the question.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field
from sqlalchemy import Connection, select

from headwater.core.identity import Actor, Decision, covers
from headwater.core.keys import Keyring
from headwater.core.yaml_file import Part
from headwater.data.authorisation import grants
from headwater.data.authorisation.decision import Use
from headwater.data.catalogue.sets import DataSet, dataset_of
from headwater.data.catalogue.tables import data_sets, data_versions
from headwater.data.privacy.protected.holding import Protected


class Under(Part):
    """Under which grant a question is asked, and the facts that its terms may speak of."""

    grant: str = Field(min_length=1, max_length=100)
    purpose: str | None = Field(None, max_length=100)
    region: str | None = Field(None, max_length=100)


def dataset_of_table(connection: Connection, table: Protected) -> DataSet | None:
    """Return the data set that a table's rows are a version of; None where the platform's own command put other rows under protection."""
    query = select(data_sets).join(data_versions, data_versions.c.dataset == data_sets.c.id)
    query = query.where(data_versions.c.digest == table.declared.artifact, data_sets.c.organisation == table.organisation)
    row = connection.execute(query.order_by(data_sets.c.name).limit(1)).first()
    return None if row is None else dataset_of(row)


def weighed(connection: Connection, keyring: Keyring, table: Protected, actor: Actor, under: Under | None, at: datetime) -> Decision:
    """Decide on a question in the caller's transaction, counting a use where a grant allows it. Raises NotFound for an unknown grant."""
    dataset = dataset_of_table(connection, table)
    if dataset is None or dataset.openness == "open" or covers(actor.organisation, table.organisation):
        return Decision(allowed=True, because="no terms bind the question")
    if under is None:
        return Decision(allowed=False, because=f"'{dataset.name}' is {dataset.openness}, and no grant is named")
    use = Use(action="aggregate", organisation=actor.organisation, purpose=under.purpose, region=under.region)
    return grants.used(connection, keyring, under.grant, dataset, use, actor=actor.id, at=at, about={"table": table.name})
