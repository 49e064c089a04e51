"""Console pages over cases: the list, one case with its form, its history, and what can be done next."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from headwater.core.identity import Actor, Permission
from headwater.core.web import names_of, page, permitted, platform_of
from headwater.programmes import cases, casework, engine
from headwater.programmes.api import found
from headwater.programmes.engine import Move

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(permitted(Permission.CASES_READ))]


@router.get("/cases")
def listed(request: Request, actor: Reader) -> Response:
    with platform_of(request).db.read() as connection:
        seen = cases.listed(connection, scopes=actor.scopes(Permission.CASES_READ), limit=200)
    return page(request, "programmes/cases.html", cases=seen)


@router.get("/cases/{case}")
def shown(request: Request, actor: Reader, case: str) -> Response:
    platform, record = platform_of(request), found(request, case, actor)
    with platform.db.read() as connection:
        events = cases.events(connection, record.id)
        facts = cases.facts_of(connection, platform.keyring, record, now=platform.clock.now())
    who = cases.party(actor, record.definition, record.organisation)
    values: dict[str, Any] = {
        "record": record,
        "events": events,
        "names": names_of(request, [record.opened_by, *(one.actor for one in events)]),
        "possible": engine.possible(record.definition, record.case, who),
        "missing": engine.missing(record.definition, record.case, facts),
    }
    return page(request, "programmes/case.html", **values)


@router.post("/cases/{case}/moves")
def move(
    request: Request,
    actor: Reader,
    case: str,
    transition: Annotated[str, Form(max_length=64)],
    version: Annotated[int, Form(ge=1, le=2**31 - 1)],
    reason: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """Make a transition; who may is the procedure's own rule, weighed by the engine."""
    platform, record = platform_of(request), found(request, case, actor)
    who = cases.party(actor, record.definition, record.organisation)
    wish = Move(transition=transition, who=who, at=platform.clock.now(), reasons=(reason.strip(),) if reason.strip() else ())
    casework.decide(platform, record.id, wish, version=version)
    return RedirectResponse(f"/cases/{record.id}", status_code=303)
