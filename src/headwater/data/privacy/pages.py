"""Console pages over protected tables: what each grantee has spent and has left, and what was asked."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from headwater.core import identity
from headwater.core.identity import Actor, Permission
from headwater.core.web import names_of, page, permitted, platform_of
from headwater.data.privacy.api import budgets_seen, questions_seen, seen_table
from headwater.data.privacy.protected import budget, holding

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(permitted(Permission.DATA_READ))]
Decider = Annotated[Actor, Depends(permitted(Permission.DATA_DECIDE))]
SHOWN = 200


@router.get("/data/protected")
def listed(request: Request, actor: Reader) -> Response:
    with platform_of(request).db.read() as connection:
        found = holding.listed(connection, scopes=actor.scopes(Permission.DATA_READ), grantee=actor.organisation)
        seen = [(table, budgets_seen(connection, actor, table)) for table in found]
    return page(request, "data/protected_tables.html", tables=seen)


@router.get("/data/protected/{table}")
def shown(request: Request, actor: Reader, table: str) -> Response:
    found = seen_table(request, actor, table)
    with platform_of(request).db.read() as connection:
        budgets = budgets_seen(connection, actor, found)
        asked = questions_seen(connection, actor, found, SHOWN)
    return page(
        request,
        "data/protected_table.html",
        table=found,
        budgets=budgets,
        asked=asked,
        names=names_of(request, [one.actor for one in asked]),
        may_give=identity.decide(actor, Permission.DATA_DECIDE, found.organisation).allowed,
    )


@router.post("/data/protected/{table}/budgets")
def give(
    request: Request,
    actor: Decider,
    table: str,
    grantee: Annotated[str, Form(pattern=r"^[a-z0-9][a-z0-9/_-]{0,199}$")],
    epsilon: Annotated[float, Form(gt=0, le=1000, allow_inf_nan=False)],
    reason: Annotated[str, Form(min_length=3, max_length=1000)],
    most_questions: Annotated[int, Form(ge=0, le=100_000)] = 100,
) -> Response:
    found = seen_table(request, actor, table)
    identity.require(actor, Permission.DATA_DECIDE, found.organisation)
    budget.give(platform_of(request), table, grantee, epsilon=epsilon, most_questions=most_questions, reason=reason, actor=actor.id)
    return RedirectResponse(f"/data/protected/{table}", status_code=303)
