"""A comparison for people and programs: a terminal table, JSON, and one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

from headwater.compute.twin.plots import bars, lines
from headwater.compute.twin.replay import Report, Row

if TYPE_CHECKING:
    from rich.table import Table

NOT_KNOWN = "not known"
HEADINGS = (
    "policy",
    "sites",
    "mean completion",
    "median",
    "p99",
    "mean wait",
    "p99 wait",
    "slowdown",
    "use",
    "fairness",
    "stops",
    "lost unit-h",
    "cost yuan",
    "over bound",
)


def duration(seconds: float | None) -> str:
    """Return a time as people read it."""
    if seconds is None:
        return NOT_KNOWN
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.1f} s"


def figure(value: float | None, form: str = ",.2f") -> str:
    return NOT_KNOWN if value is None else format(value, form)


def cells(row: Row) -> tuple[str, ...]:
    """Return one row of the table, by HEADINGS."""
    found = row.measured
    completion, wait, slowdown = found.completion_s, found.wait_s, found.slowdown
    ratio = completion.mean / found.bounds.mean_completion_s if completion is not None and found.bounds is not None else None
    return (
        found.policy + ("" if found.complete else " (partial)"),
        row.variant,
        duration(completion.mean if completion else None),
        duration(completion.median if completion else None),
        duration(completion.p99 if completion else None),
        duration(wait.mean if wait else None),
        duration(wait.p99 if wait else None),
        figure(slowdown.mean if slowdown else None, ",.1f"),
        figure(found.utilisation, ".1%"),
        figure(found.fairness, ".3f"),
        f"{found.preemptions:,}",
        figure((found.lost_unit_s + (found.restart_unit_s or 0.0)) / 3600, ",.0f"),
        figure(None if found.cost is None else found.cost / 100, ",.0f"),
        figure(ratio, ".2f"),
    )


def notes(report: Report) -> list[str]:
    """Return what a reader must know beside the table."""
    said = []
    if report.partial:
        said.append("PARTIAL: stopped before its end; the last row covers only the jobs that had ended by then.")
    said.append(f"{report.jobs:,} of {report.rows_read:,} rows replayed on {report.units:,} units at {len(report.sites)} site(s).")
    said += [f"Row fault: {fault}" for fault in report.faults]
    for row in report.rows:
        found = row.measured
        if found.refused or found.unfinished:
            said.append(
                f"{found.policy} ({row.variant}): {found.refused} job(s) larger than any site they may use, {found.unfinished} never ended."
            )
    if report.rows:
        first = report.rows[0].measured
        said.append(f"Fairness is Jain's index over the mean slowdown of {first.fairness_over}; slowdown is bounded at 10 s.")
        if first.bounds is not None:
            said.append(
                f"No schedule without sharing or speed-up has a mean completion under {duration(first.bounds.mean_completion_s)} "
                f"or a makespan under {duration(first.bounds.makespan_s)} here."
            )
    return said


def table(report: Report) -> Table:
    """Return the comparison as a Rich table with its notes."""
    from rich.table import Table

    drawn = Table(title=f"Trace {report.trace}", title_justify="left", caption="\n".join(notes(report)), caption_justify="left")
    for index, heading in enumerate(HEADINGS):
        drawn.add_column(heading, justify="left" if index < 2 else "right")
    for row in report.rows:
        drawn.add_row(*cells(row))
    return drawn


def document(report: Report) -> dict[str, Any]:
    """Return the comparison as JSON has it."""
    return asdict(report) | {"notes": notes(report)}


def page(report: Report) -> str:
    """Return the comparison as one HTML page with its plots inside; it loads nothing."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in HEADINGS)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells(row)) + "</tr>" for row in report.rows)
    labels = [row.measured.policy if row.variant == "as it is" else f"{row.measured.policy} ({row.variant})" for row in report.rows]
    use = lines(
        [
            (label, [s / 86400 for s in row.measured.series_s], list(row.measured.series_use))
            for label, row in zip(labels, report.rows, strict=True)
        ],
        title="Share of units in use",
        across="days from the trace's origin",
    )
    known = [(label, row.measured) for label, row in zip(labels, report.rows, strict=True) if row.measured.completion_s is not None]
    bound = report.rows[0].measured.bounds if report.rows else None
    ended = bars(
        [(label, found.completion_s.mean / 3600) for label, found in known if found.completion_s is not None],
        title="Mean completion, hours",
        mark=None if bound is None else bound.mean_completion_s / 3600,
        mark_name="lower bound",
    )
    said = "".join(f"<li>{escape(note)}</li>" for note in notes(report))
    return PAGE.format(title=escape(report.trace), head=head, body=body, use=use, ended=ended, notes=said)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Twin: {title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1c2430; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ border-bottom: 1px solid #d5dbe3; padding: .35rem .5rem; text-align: right; }}
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) {{ text-align: left; }}
svg {{ max-width: 100%; height: auto; margin-top: 1rem; }}
</style></head><body>
<h1>Trace {title}</h1>
<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>
<ul>{notes}</ul>
{ended}
{use}
</body></html>
"""
