"""The console page that finds and compares parallel plans. What is asked stands in the address."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from headwater.core.errors import HeadwaterError
from headwater.core.identity import Actor, Permission
from headwater.core.web import page, permitted
from headwater.framework.api import BUDGET_S, check_size
from headwater.framework.parallel.asked import Asked, answered, found
from headwater.framework.parallel.predict import TERMS
from headwater.framework.parallel.views import PlansOut
from headwater.framework.program.named import names

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(permitted(Permission.COMPUTE_READ))]
Word = Annotated[str, Query(max_length=400)]
Number = Annotated[str, Query(max_length=12)]


@router.get("/parallel")
def compared(
    request: Request,
    _: Reader,
    model: Word = "",
    fleet: Word = "",
    batch: Number = "",
    precision: Word = "bf16",
    objective: Word = "time",
    within: Number = "",
    why: Word = "",
) -> Response:
    """The form, and where a fleet is given the plans; what is wrong with it is said on the page."""
    given = {"model": model, "fleet": fleet, "batch": batch, "precision": precision, "objective": objective, "within": within, "why": why}
    told, wrong = (None, "") if not fleet else _answer(given)
    shown = [] if told is None else [name for name in TERMS if any(plan.terms[name] >= 0.001 * plan.step_s for plan in told.plans)]
    status = 422 if wrong else 200
    return page(request, "framework/parallel.html", status, models=names(), given=given, told=told, wrong=wrong, terms=shown)


def _answer(given: dict[str, str]) -> tuple[PlansOut | None, str]:
    try:
        check_size(given["fleet"])
        asked = Asked(
            model=given["model"],
            fleet=given["fleet"],
            batch=int(given["batch"]) if given["batch"] else None,
            precision=given["precision"],
            objective=given["objective"],
            within=float(given["within"]) if given["within"] else None,
        )
        return answered(found(asked, files=False, budget_s=BUDGET_S), given["why"] or None), ""
    except (HeadwaterError, ValueError) as error:
        return None, str(error)
