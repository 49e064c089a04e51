"""Console pages over the plan: every clause with the state of its evidence, and one clause in full."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from headwater.core.identity import Actor, Permission
from headwater.core.web import page, permitted, platform_of
from headwater.plan import evidence
from headwater.plan.evidence import ClauseState, Item, Overview

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(permitted(Permission.PLAN_READ))]


@router.get("/plan")
def shown(
    request: Request,
    actor: Reader,  # noqa: ARG001 - the role is what matters
    state: Annotated[str, Query(pattern="^(|evidenced|awaited|unlinked)$")] = "",
) -> Response:
    seen = evidence.overview(platform_of(request))
    return page(request, "plan/plan.html", seen=seen, counts=seen.counts(), sections=sections(seen, state), state=state)


@router.get("/plan/{clause}")
def clause(request: Request, actor: Reader, clause: str) -> Response:  # noqa: ARG001 - the role is what matters
    seen = evidence.overview(platform_of(request))
    one = seen.clause(clause)
    parts = [other for other in seen.clauses if other.clause.parent == clause]
    return page(request, "plan/clause.html", seen=seen, one=one, parts=parts, place=place)


def sections(seen: Overview, state: str) -> list[tuple[ClauseState, list[ClauseState]]]:
    """Return the plan's top clauses, each with all clauses below it, in the plan's order; only those in a state, if one is named."""
    found: list[tuple[ClauseState, list[ClauseState]]] = []
    for one in seen.clauses:
        if not one.clause.parent:
            found.append((one, []))
        elif state in ("", one.state):
            found[-1][1].append(one)
    return [(top, below) for top, below in found if below or state in ("", top.state)]


def place(item: Item) -> str:
    """Return the page that shows a piece of evidence."""
    return f"/ledger?before={int(item.name[1:]) + 1}" if item.name.startswith("#") else f"/statements/{item.name}"
