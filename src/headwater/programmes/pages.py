"""Console pages over cases: the list, one case with its form, its history, and what can be done next."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from headwater.core.identity import Actor, Permission
from headwater.core.web import names_of, page, permitted, platform_of
from headwater.programmes import cases, casework, definition, engine, forms
from headwater.programmes.api import found
from headwater.programmes.cases import Record
from headwater.programmes.engine import Move, Party

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(permitted(Permission.CASES_READ))]


@router.get("/cases")
def listed(request: Request, actor: Reader) -> Response:
    with platform_of(request).db.read() as connection:
        seen = cases.listed(connection, scopes=actor.scopes(Permission.CASES_READ), limit=200)
    return page(request, "programmes/cases.html", cases=seen)


@router.get("/cases/new")
def new(request: Request, actor: Reader, procedure: Annotated[str, Query(max_length=64)] = "") -> Response:  # noqa: ARG001
    """Choose a procedure; with one, its form, filled in as far as the address does it (`?field-NAME=…`)."""
    rules = definition.named(procedure) if procedure else None
    given = forms.typed(rules, request.query_params) if rules else {}
    procedures = definition.shipped().values()
    return page(request, "programmes/new_case.html", rules=rules, given=given, procedures=procedures, prefix=forms.PREFIX)


@router.post("/cases")
async def opened(request: Request, actor: Reader, procedure: Annotated[str, Form(max_length=64)]) -> Response:
    """Open a case for the reader's own organisation with what the form holds."""
    rules = definition.named(procedure)
    who = cases.party(actor, rules, actor.organisation)
    fields = forms.typed(rules, await _texts(request))
    wish = casework.NewCase(definition=rules, organisation=actor.organisation, fields=fields, who=who)
    record = await run_in_threadpool(casework.open_case, platform_of(request), wish)
    return RedirectResponse(f"/cases/{record.id}", status_code=303)


@router.post("/cases/{case}/fields")
async def fill(request: Request, actor: Reader, case: str, version: Annotated[int, Form(ge=1, le=2**31 - 1)]) -> Response:
    """Change the form of an open case; a field that was left empty is emptied."""
    record = await run_in_threadpool(found, request, case, actor)
    who = cases.party(actor, record.definition, record.organisation)
    before = record.case.fields
    given = forms.typed(record.definition, await _texts(request), blank=True)
    changed = {name: value for name, value in given.items() if value != before.get(name)}
    if changed:
        await run_in_threadpool(lambda: casework.fill(platform_of(request), record.id, changed, who, version=version))
    return RedirectResponse(f"/cases/{record.id}", status_code=303)


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
        "may_fill": _may_fill(record, who),
        "prefix": forms.PREFIX,
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


def _may_fill(record: Record, who: Party) -> bool:
    """Tell whether the form is open, and to this person."""
    state = record.definition.states[record.case.state]
    return (state.initial or state.open) and record.definition.filled_by in who.roles


async def _texts(request: Request) -> dict[str, str]:
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}
