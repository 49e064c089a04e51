"""A question about plans as it comes from the command line, a route or a page: checked, then answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast, get_args

from headwater.core.errors import BadInput
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.plan import Precision
from headwater.framework.parallel.search import Objective, PlanSet, search
from headwater.framework.parallel.space import Mask, Space
from headwater.framework.parallel.views import PlansOut, plans_out
from headwater.framework.parallel.why import why_not
from headwater.framework.program.model_spec import ModelSpec
from headwater.framework.program.named import load, named


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants planned, in words and numbers as they were typed."""

    model: str
    fleet: str
    batch: int | None = None
    seq: int | None = None
    precision: str = "bf16"
    objective: str = "time"
    within: float | None = None
    top: int = 5


HERE = "here"
"""The fleet that is this machine, measured when asked."""


def found(asked: Asked, *, files: bool = True, budget_s: float = 20.0, may: Callable[[Space], Mask] | None = None) -> PlanSet:
    """Return the plans that answer a question. Without `files` a model is only looked up by name.

    Raises BadInput, NotFound for an unknown chip or model, BadFile for a wrong model file.
    """
    spec: ModelSpec = load(asked.model, seq_len=asked.seq) if files else named(asked.model, seq_len=asked.seq)
    return search(
        spec,
        Fleet.probe() if files and asked.fleet == HERE else Fleet.load(asked.fleet),
        global_batch=asked.batch,
        precisions=precisions(asked.precision),
        objective=objective(asked.objective),
        within_s=asked.within,
        keep=asked.top,
        may=may,
        budget_s=budget_s,
    )


def answered(plans: PlanSet, why: str | None) -> PlansOut:
    """Return the plans as JSON has them, with why not another where that was asked."""
    return plans_out(plans, asked=why, answer=None if why is None else why_not(plans, why))


def precisions(text: str) -> tuple[Precision, ...]:
    """Return the number formats of a list. Raises BadInput for one that is not known."""
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    known = get_args(Precision)
    if not names or any(name not in known for name in names):
        raise BadInput(f"'{text[:80]}' names no number formats.", f"Known: {', '.join(known)}; several are written bf16,fp8.")
    return cast("tuple[Precision, ...]", names)


def objective(text: str) -> Objective:
    """Return the objective of a word. Raises BadInput for another word."""
    if text not in get_args(Objective):
        raise BadInput(f"'{text[:40]}' is no objective.", f"Choose one of {', '.join(get_args(Objective))}.")
    return cast("Objective", text)
