"""`headwater twin …`: what a policy, a price, a quota or a site would do, before it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from headwater.core import output

if TYPE_CHECKING:
    from headwater.compute.scheduler.policy import Policy
    from headwater.compute.twin.replay import Report
    from headwater.compute.twin.sites import Federation
    from headwater.compute.twin.trace import Trace
    from headwater.compute.twin.whatif import WhatIf

app = typer.Typer(no_args_is_help=True, help="Replay traces through the scheduler on a simulated clock.")

Policies = Annotated[list[str], typer.Option("--policy", "-p", help="A shipped policy's name, or a policy file; repeat to compare.")]
Units = Annotated[int | None, typer.Option(min=1, help="Units of a single site, where no site list is given.")]
PerNode = Annotated[int, typer.Option(min=1, help="Units a node, with --units.")]
Begins = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z"], help="The date at the trace's origin, as 2026-12-01T00:00+0800."),
]
CarbonBy = Annotated[Literal["location", "market"], typer.Option(help="Which carbon factor a policy that weighs carbon is told.")]
Html = Annotated[Path | None, typer.Option("--html", help="Also write the report, with plots, to this file.", dir_okay=False)]
Save = Annotated[Path | None, typer.Option("--save", help="Also write the report as JSON to this file.", dir_okay=False)]
Checkpoint = Annotated[float, typer.Option(min=0, help="Seconds of work between checkpoints; 0: none is lost at a stop.")]
AddSite = Annotated[
    list[str] | None, typer.Option(help="What if there were this site: NAME=NODESxUNITS, or NAME=NODESxUNITS:SITE for one like SITE.")
]
RemoveSite = Annotated[list[str] | None, typer.Option(help="What if this site were gone.")]
Nodes = Annotated[list[str] | None, typer.Option(help="What if a site had this many nodes: SITE=COUNT.")]
Quota = Annotated[list[str] | None, typer.Option(help="What if a tenant held at most: TENANT=UNITS.")]
Price = Annotated[list[str] | None, typer.Option(help="What if a site cost: SITE=FEN per unit and hour.")]
Link = Annotated[list[str] | None, typer.Option(help="What if a link had this bandwidth: SITE:SITE=GBIT a second; 0 cuts it.")]
Lose = Annotated[list[str] | None, typer.Option(help="What if a site were lost: SITE@SECONDS after the first submission.")]


@app.command("run")
def run(
    trace: Annotated[
        Path,
        typer.Option("--trace", "-t", help="Jobs: .parquet (common schema), .swf, a sacct dump, or ledger:FOLDER for a platform's own."),
    ],
    policy: Policies,
    sites: Annotated[Path | None, typer.Option("--sites", "-s", help="A .parquet list of nodes or a .toml catalogue of sites.")] = None,
    units: Units = None,
    units_per_node: PerNode = 8,
    silos: Annotated[bool, typer.Option("--silos", help="Each site runs only the jobs of its own pool.")] = False,
    checkpoint_s: Checkpoint = 0.0,
    html: Html = None,
    save: Save = None,
    add_site: AddSite = None,
    remove_site: RemoveSite = None,
    nodes: Nodes = None,
    quota: Quota = None,
    price: Price = None,
    link: Link = None,
    lose: Lose = None,
    begins: Begins = None,
    carbon: CarbonBy = "location",
) -> None:
    """Run policies side by side over a trace, and print what each would have done."""
    from headwater.compute.twin.traces import read_trace
    from headwater.compute.twin.whatif import WhatIf

    asked = WhatIf(
        add_site=tuple(add_site or ()), remove_site=tuple(remove_site or ()), nodes=tuple(nodes or ()), quota=tuple(quota or ()),
        price=tuple(price or ()), link=tuple(link or ()), lose=tuple(lose or ()),
    )  # fmt: skip
    federation = _federation(sites, units, units_per_node, silos=silos, begins=begins, carbon=carbon)
    _finish(_compared(read_trace(trace), federation, _loaded(policy), asked, checkpoint_s), html, save)


@app.command("sacct")
def sacct(
    dump: Annotated[Path, typer.Argument(help="A dump made with `sacct --parsable2`.", exists=True, dir_okay=False)],
    units: Units = None,
    units_per_node: PerNode = 8,
    policy: Policies = ["fifo", "easy", "headwater"],  # noqa: B006
    html: Html = None,
    save: Save = None,
) -> None:
    """Say what pooling all partitions, and each policy, would have changed in an operator's own accounting.

    Without --units each partition, and the pool of all, is as large as the most that ever ran there at once.
    """
    from headwater.compute.twin.pooling import pooled, siloed
    from headwater.compute.twin.traces import read_sacct
    from headwater.compute.twin.whatif import WhatIf

    trace = read_sacct(dump)
    parts, whole = siloed(trace), pooled(trace) if units is None else _federation(None, units, units_per_node)
    loaded = _loaded(policy)
    apart = _compared(trace, parts, loaded, WhatIf(), 0.0)
    together = _compared(trace, whole, loaded, WhatIf(), 0.0) if not apart.partial else None
    _finish(_joined(apart, together), html, save)


def _joined(apart: Report, together: Report | None) -> Report:
    from dataclasses import replace

    rows = [replace(row, variant="partitions apart") for row in apart.rows]
    rows += [replace(row, variant="pooled") for row in together.rows] if together is not None else []
    return replace(apart, rows=tuple(rows), partial=apart.partial or (together is not None and together.partial))


@app.command("policies")
def policies() -> None:
    """List the policies that come with Headwater."""
    from headwater.compute.scheduler.policy import load, shipped_names

    output.rows([{"name": name, "about": load(name).about} for name in shipped_names()])


def _loaded(names: list[str]) -> list[Policy]:
    from headwater.compute.scheduler.policy import load

    return [load(name) for name in names]


def _federation(
    sites: Path | None,
    units: int | None,
    units_per_node: int,
    *,
    silos: bool = False,
    begins: datetime | None = None,
    carbon: Literal["location", "market"] = "location",
) -> Federation:
    from dataclasses import replace

    from headwater.compute.twin.sites import one_site, read_sites
    from headwater.core.errors import BadInput

    if (sites is None) == (units is None):
        raise BadInput(
            "Neither --sites nor --units is given." if sites is None else "--sites and --units are both given.", "Give one of them."
        )
    if sites is None:
        return one_site(units or 0, units_per_node)
    return replace(read_sites(sites, silos=silos, begins=_moment(begins)), carbon=carbon)


def _moment(begins: datetime | None) -> datetime | None:
    from headwater.core.errors import BadInput

    if begins is not None and begins.tzinfo is None:
        raise BadInput(f"--begins {begins.isoformat()} names no time zone.", "Write it as 2026-12-01T00:00:00+0800.")
    return begins


def _compared(trace: Trace, federation: Federation, policies: list[Policy], asked: WhatIf, checkpoint_s: float) -> Report:
    from headwater.compute.twin.replay import compare

    with _progress() as tell:
        return compare(trace, federation, policies, asked=asked, checkpoint_s=checkpoint_s, tell=tell)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that draws progress on standard error, one bar a policy."""
    from rich.progress import Progress, TaskID

    with Progress(console=output.console(to_error=True), transient=True) as bars:
        rows: dict[str, TaskID] = {}
        waiting = bars.add_task("compiling the scheduler (once, under a minute)", total=None)

        def tell(name: str, done: int, total: int) -> None:
            if name not in rows:
                bars.update(waiting, visible=False)
                rows[name] = bars.add_task(name, total=total)
            bars.update(rows[name], completed=done)

        yield tell


def _finish(report: Report, html: Path | None, save: Path | None) -> None:
    import json

    from headwater.compute.twin.report import document, drawn, page

    if html is not None:
        html.write_text(page(report), "utf-8")
    if save is not None:
        save.write_text(json.dumps(document(report), ensure_ascii=False, indent=2, default=output.plain) + "\n", "utf-8")
    output.document(document(report), lambda: drawn(report))
    if report.partial:
        raise typer.Exit(1)
