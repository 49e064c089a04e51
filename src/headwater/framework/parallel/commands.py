"""`headwater parallel MODEL --fleet 64xA100-80`: the best parallel plans, without a GPU and without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from headwater.core import output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from headwater.framework.parallel.views import PlanOut, PlansOut

app = typer.Typer(help="Automatic parallel plans.")
BAR = 20
SHOWN_TERMS = 3

Model = Annotated[str, typer.Argument(help="A model's name, such as llama-3-70b, or a TOML or JSON file with its dimensions.")]
FleetText = Annotated[
    str,
    typer.Option(
        "--fleet",
        help="Chips, such as 64xA100-80, 32xH800-80+32xA800-80, 64xA100-80/net50/price12.5, or `here`.",
    ),
]


@app.command("parallel")
def parallel(
    model: Model,
    fleet: FleetText,
    batch: Annotated[int | None, typer.Option(min=1, help="Sequences a step; about four million tokens where left out.")] = None,
    seq: Annotated[int | None, typer.Option(min=1, help="Tokens a sequence; the model's own where left out.")] = None,
    precision: Annotated[str, typer.Option(help="Number formats that may be used, such as bf16,fp8.")] = "bf16",
    objective: Annotated[str, typer.Option(help="What to make least: time, cost or energy.")] = "time",
    within: Annotated[float | None, typer.Option(help="Longest step in seconds, for cost and energy.")] = None,
    top: Annotated[int, typer.Option(min=1, max=50, help="How many plans.")] = 5,
    why: Annotated[str | None, typer.Option(help="Say why not this layout, such as 'tp8 pp8 zero1 mb1'.")] = None,
    emit: Annotated[str | None, typer.Option(help="Print the best plan as a tool's configuration: torchtitan, megatron, ...")] = None,
) -> None:
    """Find the best parallel plans of a model on a fleet, with predicted intervals, memory, and reasons."""
    from headwater.framework.parallel.asked import Asked, answered, found

    asked = Asked(
        model=model,
        fleet=fleet,
        batch=batch,
        seq=seq,
        precision=precision,
        objective=objective,
        within=within,
        top=top,
    )
    if emit is not None:
        from headwater.framework.parallel.emit import emitted, tool_of

        tool = tool_of(emit)
        text = emitted(found(asked, may=tool.may), tool)
        if output.as_json():
            output.document({"tool": emit, "text": text}, str)
        else:
            typer.echo(text, nl=False)
        return
    plans = found(asked)
    told = answered(plans, why)
    output.document(told.model_dump(), lambda: _drawn(told))


def _drawn(told: PlansOut) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=_title(told), title_justify="left", header_style="bold")
    for heading in ("plan", "step, 80 % interval", "tokens/s a chip", "fullest chip", "where the time goes"):
        drawn.add_column(heading, overflow="fold")
    for plan in told.plans:
        drawn.add_row(plan.name + _part(told, plan), _interval(plan), f"{plan.tokens_s_chip:,.0f}", _memory_bar(plan), _causes(plan))
    lines = [Text(line) for line in (_standing(told), *_assumed(told), *_reasons(told))]
    return Group(drawn, *lines)


def _title(told: PlansOut) -> str:
    return f"{told.model}, {told.parameters / 1e9:.3g} billion parameters, on {told.fleet}: {told.plans[0].global_batch} sequences a step"


def _part(told: PlansOut, plan: PlanOut) -> str:
    return "" if plan.fleet == told.fleet else f"\non {plan.fleet}"


def _interval(plan: PlanOut) -> str:
    cost = "" if plan.cost is None else f"\n{plan.cost:.3g} yuan"
    return f"{plan.step_s:.3g} s  [{plan.low_s:.3g}, {plan.high_s:.3g}]{cost}"


def _memory_bar(plan: PlanOut) -> str:
    stage = max(plan.stages, key=lambda one: one.total_gib / one.capacity_gib)
    full = min(BAR, round(BAR * stage.total_gib / stage.capacity_gib))
    return f"{'█' * full}{'░' * (BAR - full)} {stage.total_gib:.0f} of {stage.capacity_gib:.0f} GiB"


def _causes(plan: PlanOut) -> str:
    largest = sorted(plan.terms.items(), key=lambda term: -term[1])[:SHOWN_TERMS]
    return ", ".join(f"{name} {seconds / plan.step_s:.0%}" for name, seconds in largest)


def _standing(told: PlansOut) -> str:
    proven = "the first is the best of them" if told.gap == 0 else f"the first is within {told.gap:.1%} of the best of them"
    return f"{told.layouts:,} layouts priced in {told.took_s:.2f} s; by the cost model {proven}. Fitted to {told.calibration}."


def _assumed(told: PlansOut) -> list[str]:
    return [f"Assumed, for want of a source: {'; '.join(told.plans[0].assumed)}."] if told.plans[0].assumed else []


def _reasons(told: PlansOut) -> list[str]:
    return [] if told.why_not is None else [f"Why not {told.why_not.asked}:", *(f"  {reason}" for reason in told.why_not.reasons)]
