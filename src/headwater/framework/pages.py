"""Console pages: parallel plans (what is asked stands in the address), and the matrix of chips, made of records."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from headwater.core.errors import HeadwaterError, NotFound
from headwater.core.identity import Actor, Permission
from headwater.core.web import page, permitted, platform_of
from headwater.framework.api import BUDGET_S, check_size
from headwater.framework.chips import matrix
from headwater.framework.chips.adapter import adapters
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


@router.get("/chips")
def recorded(request: Request, _: Reader) -> Response:
    """The compatibility matrix: every vendor there is an adapter of, with the records that the platform holds."""
    platform = platform_of(request)
    with platform.db.read() as connection:
        rows = matrix.rows(matrix.held(platform, connection, platform.clock.now()))
    return page(request, "framework/chips.html", rows=rows, columns=matrix.COLUMNS, kinds=matrix.KINDS)


@router.get("/chips/{digest}")
def record(request: Request, _: Reader, digest: Annotated[str, Path(max_length=80)]) -> Response:
    """One record: what does not work, and what was measured."""
    platform = platform_of(request)
    with platform.db.read() as connection:
        found = matrix.entry(platform, connection, digest, platform.clock.now())
    if found is None:
        raise NotFound("That statement holds no calibration record.", "Choose one at /chips.")
    gaps = next((one.gaps for one in adapters() if one.vendor == found.record.device.vendor), ())
    return page(request, "framework/chip.html", entry=found, told=found.record, sources=gaps)
