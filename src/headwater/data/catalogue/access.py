"""Who may see which data set, and who may have its rows without a grant."""

from __future__ import annotations

from headwater.core import identity
from headwater.core.errors import NotFound, Refused
from headwater.core.identity import Actor, Decision, Permission
from headwater.core.platform import Platform
from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import DataSet


def visible(platform: Platform, name: str, actor: Actor | None) -> DataSet:
    """Return a data set that a person may see: a published one, or one of an organisation whose data they may read. Raises NotFound."""
    with platform.db.read() as connection:
        dataset = sets.find(connection, name)
    if dataset.published or (actor is not None and identity.decide(actor, Permission.DATA_READ, dataset.organisation).allowed):
        return dataset
    raise NotFound(f"There is no data set '{name[:100]}'.", "Search with `headwater data search`.")


def owned(platform: Platform, name: str, actor: Actor, permission: Permission) -> DataSet:
    """Return a data set that a person may change in this way. Raises NotFound, Refused."""
    dataset = visible(platform, name, actor)
    identity.require(actor, permission, dataset.organisation)
    return dataset


def rows_without_grant(dataset: DataSet, actor: Actor | None) -> Decision:
    """Return whether a person may have a data set's rows without a grant: open ones, and those that they publish themselves. Pure."""
    if dataset.withdrawn_at is not None:
        return Decision(allowed=False, because=f"the data set was withdrawn: {dataset.withdrawn_because}")
    if actor is not None and identity.decide(actor, Permission.DATA_PUBLISH, dataset.organisation).allowed:
        return Decision(allowed=True, because=f"{actor.name} publishes data of {dataset.organisation}")
    if dataset.openness == "open" and dataset.published:
        return Decision(allowed=True, because="the data set is open")
    return Decision(allowed=False, because=f"the data set '{dataset.name}' is {dataset.openness}: its rows need a grant")


def require_rows(dataset: DataSet, actor: Actor | None) -> None:
    """Raise Refused unless a person may have the rows without a grant."""
    decision = rows_without_grant(dataset, actor)
    if not decision.allowed:
        raise Refused(
            f"{decision.because}.", "Apply by a case of data-authorisation (/cases/new), or ask for a signed address under your grant."
        )
