"""Console pages of the opening plan: the calendar, and one data set's commitment with every change of it."""

from __future__ import annotations

from collections import Counter
from datetime import date
from itertools import groupby
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from headwater.core import identity
from headwater.core.errors import BadInput
from headwater.core.identity import Actor, Permission
from headwater.core.web import names_of, page, permitted, platform_of
from headwater.data.catalogue import opening, sets
from headwater.data.catalogue.access import owned, visible
from headwater.data.catalogue.opening import Planned, Promise
from headwater.data.catalogue.sets import RHYTHMS, Rhythm

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(permitted(Permission.DATA_READ))]
Planner = Annotated[Actor, Depends(permitted(Permission.DATA_PLAN))]
STATES = ("late", "update_late", "planned", "open")
MOST_UNPLANNED = 200


@router.get("/data/plan")
def calendar(request: Request, actor: Reader, state: str = "") -> Response:
    """The opening plan as a calendar: by the month in which something is due next, what is late first."""
    platform = platform_of(request)
    scopes = actor.scopes(Permission.DATA_READ)
    with platform.db.read() as connection:
        lines = opening.plan(connection, platform.clock.now(), scopes=scopes)
        known = sets.listed(connection, sets.Filters(published=None, scopes=scopes), limit=MOST_UNPLANNED).found
    planned = {one.dataset.id for one in lines}
    chosen = [one for one in lines if state not in STATES or one.standing.state == state]
    return page(
        request,
        "data/opening.html",
        months=[(month, list(ones)) for month, ones in groupby(sorted(chosen, key=_order), key=_month)],
        counts=Counter(one.standing.state for one in lines),
        total=len(lines),
        states=STATES,
        state=state,
        unplanned=[one for one in known if one.id not in planned and one.withdrawn_at is None],
        may_plan=bool(actor.scopes(Permission.DATA_PLAN)),
    )


@router.get("/data/plan/{dataset}")
def commitment(request: Request, actor: Reader, dataset: str) -> Response:
    """One data set's commitment, how it stands, and every change with its reason."""
    platform = platform_of(request)
    found = visible(platform, dataset, actor)
    identity.require(actor, Permission.DATA_READ, found.organisation)
    with platform.db.read() as connection:
        planned = opening.of(connection, found, platform.clock.now())
        changes = opening.changes(connection, found)
    return page(
        request,
        "data/commitment.html",
        dataset=found,
        planned=planned,
        changes=changes,
        names=names_of(request, [one.actor for one in changes]),
        rhythms=RHYTHMS,
        may_plan=identity.decide(actor, Permission.DATA_PLAN, found.organisation).allowed,
    )


@router.post("/data/plan/{dataset}")
def commit(
    request: Request,
    actor: Planner,
    dataset: str,
    due: Annotated[str, Form(max_length=10)],
    owner: Annotated[str, Form(max_length=200)],
    reason: Annotated[str, Form(max_length=1000)],
    rhythm: Annotated[Rhythm, Form()] = "irregular",
    revision: Annotated[int, Form(ge=0, le=2**31 - 2)] = 0,
) -> Response:
    platform = platform_of(request)
    found = owned(platform, dataset, actor, Permission.DATA_PLAN)
    identity.require(actor, Permission.DATA_PLAN, owner)
    try:
        day = date.fromisoformat(due)
    except ValueError as error:
        raise BadInput(f"'{due}' is not a day.", "Give one such as 2026-12-31.") from error
    promise = Promise(due=day, owner=owner, rhythm=rhythm, reason=reason, revision=revision)
    opening.commit(platform, found.id, promise, actor=actor.id)
    return RedirectResponse(f"/data/plan/{found.name}", status_code=303)


@router.post("/data/plan/{dataset}/cancel")
def cancel(
    request: Request,
    actor: Planner,
    dataset: str,
    reason: Annotated[str, Form(max_length=1000)],
    revision: Annotated[int, Form(ge=1, le=2**31 - 1)],
) -> Response:
    platform = platform_of(request)
    found = owned(platform, dataset, actor, Permission.DATA_PLAN)
    opening.cancel(platform, found.id, reason=reason, revision=revision, actor=actor.id)
    return RedirectResponse(f"/data/plan/{found.name}", status_code=303)


def _order(one: Planned) -> tuple[bool, date, str]:
    """Sort what has nothing more due last."""
    due = one.standing.next_due
    return due is None, due or one.commitment.due, one.dataset.name


def _month(one: Planned) -> str:
    return one.standing.next_due.strftime("%Y-%m") if one.standing.next_due else ""
