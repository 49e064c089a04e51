"""A comparison for people and programs: terminal tables, JSON, and one HTML file that needs nothing else."""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

from headwater.compute.twin.cells import HEADINGS, Cells, bound_cells, cells, duration, of_accounts
from headwater.compute.twin.plots import bars, lines
from headwater.compute.twin.replay import Report, Row

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table


def notes(report: Report) -> list[str]:
    """Return what a reader must know beside the tables."""
    said = []
    if report.partial:
        said.append("PARTIAL: stopped before its end; the last row covers only the jobs that had ended by then.")
    said.append(f"{report.jobs:,} of {report.rows_read:,} rows replayed on {report.units:,} units at {len(report.sites)} site(s).")
    said += [f"Row fault: {fault}" for fault in report.faults]
    said += report.remarks
    for row in report.rows:
        found = row.measured
        if found.refused or found.unfinished:
            said.append(
                f"{found.policy} ({row.variant}): {found.refused} job(s) that no site may or can run, {found.unfinished} never ended."
            )
        said += [f"{found.policy} ({row.variant}): {count} job(s) that no site may run: {why}." for count, why in row.nowhere]
    if report.rows:
        said += _about_figures(report.rows[0])
    return said


def _about_figures(row: Row) -> list[str]:
    found = row.measured
    said = [
        "Completion, wait and slowdown are means; slowdown is bounded at 10 s.",
        f"Fairness is Jain's index over the mean slowdown of {found.fairness_over}.",
    ]
    if found.bounds is not None:
        said.append(
            f"No schedule without sharing or speed-up has a mean completion under {duration(found.bounds.mean_completion_s)} "
            f"or a makespan under {duration(found.bounds.makespan_s)} here; a wait is bounded where no job is stopped."
        )
    if of_accounts(row):
        said.append(
            "Energy is the chips' stated power while a job holds them, times power usage effectiveness; idle chips and hosts are not "
            "counted. Cost is hire, electricity by the hour and egress. The lower bound puts each job alone where it is cheapest (or "
            "greenest, or nearest), at the best hour."
        )
    return said


def drawn(report: Report) -> Group:
    """Return the comparison as Rich tables with their notes."""
    from rich.console import Group
    from rich.text import Text

    return Group(*(_table(report, part) for part in parts_of(report)), Text("\n".join(notes(report))))


def parts_of(report: Report) -> list[str]:
    """Return the tables that have anything to say."""
    return ["time", "accounts"] if any(of_accounts(row) for row in report.rows) else ["time"]


def body(report: Report, part: str) -> list[Cells]:
    """Return the rows of one table, each variant's lower bound under its rows."""
    made, variants = [], dict.fromkeys(row.variant for row in report.rows)
    for variant in variants:
        rows = [row for row in report.rows if row.variant == variant]
        made += [cells(row, part) for row in rows]
        made.append(bound_cells(rows[0], part))
    return made


def _table(report: Report, part: str) -> Table:
    from rich.table import Table

    table = Table(title=f"Trace {report.trace}" if part == "time" else "Money, energy and data", title_justify="left")
    for index, heading in enumerate(HEADINGS[part]):
        table.add_column(heading, justify="left" if index < 2 else "right")
    for row in body(report, part):
        table.add_row(*row)
    return table


def document(report: Report) -> dict[str, Any]:
    """Return the comparison as JSON has it."""
    return asdict(report) | {"notes": notes(report)}


def page(report: Report) -> str:
    """Return the comparison as one HTML page with its plots inside; it loads nothing."""
    tables = "".join(_html_table(report, part) for part in parts_of(report))
    said = "".join(f"<li>{escape(note)}</li>" for note in notes(report))
    return PAGE.format(title=escape(report.trace), tables=tables, plots="\n".join(plots(report)), notes=said)


def _html_table(report: Report, part: str) -> str:
    head = "".join(f"<th>{escape(heading)}</th>" for heading in HEADINGS[part])
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body(report, part))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def plots(report: Report) -> list[str]:
    """Return the plots as SVG: completion and cost beside their bounds, then use and fragmentation over time."""
    named = [
        (row.measured.policy if row.variant == "as it is" else f"{row.measured.policy} ({row.variant})", row.measured)
        for row in report.rows
    ]
    bound = report.rows[0].measured.bounds if report.rows else None
    ended = [(label, found.completion_s.mean / 3600) for label, found in named if found.completion_s is not None]
    least_h = None if bound is None else bound.mean_completion_s / 3600
    made = [bars(ended, title="Mean completion, hours", mark=least_h, mark_name="lower bound")]
    costs = [
        (label, whole / 100) for label, found in named if found.account is not None and (whole := found.account.cost_fen.whole) is not None
    ]
    least = report.rows[0].measured.least if report.rows else None
    if costs:
        mark = None if least is None or least.cost_fen is None else least.cost_fen / 100
        made.append(bars(costs, title="Cost, yuan", mark=mark, mark_name="lower bound"))
    use = [(label, [s / 86400 for s in found.series_s], list(found.series_use)) for label, found in named]
    made.append(lines(use, title="Share of units in use", across=ACROSS))
    apart = [(label, [s / 86400 for s in found.fragmentation_s], list(found.series_fragmentation)) for label, found in named]
    if any(values for _, _, values in apart):
        made.append(lines(apart, title="Fragmentation: share of free units that a job drawn from the trace could not use", across=ACROSS))
    return made


ACROSS = "days from the trace's origin"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Twin: {title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1c2430; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; margin-bottom: 1.5rem; }}
th, td {{ border-bottom: 1px solid #d5dbe3; padding: .35rem .5rem; text-align: right; }}
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) {{ text-align: left; }}
svg {{ max-width: 100%; height: auto; margin-top: 1rem; }}
</style></head><body>
<h1>Trace {title}</h1>
{tables}
<ul>{notes}</ul>
{plots}
</body></html>
"""
