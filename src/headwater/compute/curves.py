"""The charts of a job's page: what it measures while it runs, and what it noted at its end.

A job writes figures with its progress (`core/progress.py`), and may note `curve` (rows with a `step`) and `chart` (points) among its facts.
What it noted is read with care: it comes from the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.compute.jobs import Job, State
from headwater.compute.views import attempt_folder
from headwater.core import chart, progress
from headwater.core.chart import Chart
from headwater.core.platform import Platform

UNDRAWN = frozenset({"left_s", "learning_rate"})
MOST_POINTS = 2000
STATES = frozenset({"chosen", "front", "beaten", "refused"})


def charts(platform: Platform, job: Job) -> list[Chart]:
    """Return a job's charts: its curves, the losses together, then one for each other figure; and the points that it noted."""
    facts = (job.result or {}).get("facts", {})
    running = job.state in (State.RUNNING, State.STARTING)
    series = progress.curves(attempt_folder(platform, job) / progress.FILE) if running else noted(facts.get("curve"))
    shown = {name: points for name, points in series.items() if name not in UNDRAWN}
    losses = {name: points for name, points in shown.items() if name.endswith("loss")}
    groups = ([("loss", losses)] if losses else []) + [(name, {name: shown[name]}) for name in shown if name not in losses]
    made = [chart.lines(title, group, x_title="step") for title, group in groups]
    return [one for one in (*made, points(facts.get("chart"))) if one is not None]


def noted(rows: Any) -> dict[str, list[tuple[float, float]]]:
    """Return the curves in rows with a `step`; whatever does not read as such is left out."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows[:MOST_POINTS] if isinstance(rows, list) else ():
        if not isinstance(row, Mapping) or not _is_number(row.get("step")):
            continue
        for name, value in row.items():
            if name != "step" and _is_number(value):
                found.setdefault(str(name)[:60], []).append((float(row["step"]), float(value)))
    return found


def points(told: Any) -> Chart | None:
    """Return the chart of noted points, None where what was noted does not read as one."""
    if not isinstance(told, Mapping) or told.get("kind") != "scatter" or not isinstance(told.get("points"), list):
        return None
    kept = [
        one for one in told["points"][:MOST_POINTS] if isinstance(one, Mapping) and _is_number(one.get("x")) and _is_number(one.get("y"))
    ]
    rows = [(float(one["x"]), float(one["y"]), str(one.get("label", ""))[:120], _state(one.get("state"))) for one in kept]
    return chart.dots("candidates", rows, x_title=str(told.get("x", ""))[:40], y_title=str(told.get("y", ""))[:40])


def _state(value: Any) -> str:
    return value if value in STATES else "beaten"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
