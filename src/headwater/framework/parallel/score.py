"""Score the planner's predictions on a table of published runs.

    python3 -m headwater.framework.parallel.score FILE.csv [--leave-one-out] [--json FILE]

Prints the error of tokens a second for each chip, the coverage of the 80 % interval, constant utilisation beside it,
the error of memory, and how well layouts of one model are ranked: the runs of a grid are equal in group, model, chip,
chips, global batch, sequence, precision and recomputation; a layout measured twice counts once, with its mean.
With --leave-one-out the shipped constants stay aside: each publisher is predicted from the others of the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from headwater.core.errors import HeadwaterError
from headwater.framework.parallel import fit
from headwater.framework.parallel.columns import Floats
from headwater.framework.parallel.constants import shipped
from headwater.framework.parallel.memory import memory
from headwater.framework.parallel.table import Run, Table, read


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How far predictions lie from measurements, as parts of the measured tokens a second."""

    runs: int
    mape: float
    median: float
    p90: float
    covered: float
    """Part of the runs inside the 80 % interval."""
    baseline_mape: float
    baseline_median: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Layouts of one model under equal conditions: how good is the one that the planner would pick?"""

    name: str
    layouts: int
    picked_over_best: float
    median_over_best: float
    """What the median layout reaches: choosing blindly."""
    spearman: float | None
    """Rank correlation; None with fewer than three layouts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Everything that a table can say of the planner."""

    overall: Errors
    by_publisher: dict[str, Errors]
    grids: tuple[Grid, ...]
    memory_runs: int
    memory_median: float | None
    memory_misfits: int
    """Published runs that the planner says cannot fit."""
    left_out: tuple[str, ...]

    @property
    def picked_over_best(self) -> float | None:
        """Mean over the grids."""
        return float(np.mean([grid.picked_over_best for grid in self.grids])) if self.grids else None

    @property
    def spearman(self) -> float | None:
        """Mean over the grids of three layouts or more."""
        found = [grid.spearman for grid in self.grids if grid.spearman is not None]
        return float(np.mean(found)) if found else None


def score(table: Table, *, leave_one_out: bool = False) -> Score:
    """Return the score of a table: with the shipped constants, or with each publisher predicted from the others."""
    if leave_one_out:
        out = fit.leave_one_out(table)
        errors, spreads, plain = out.errors, out.spreads, out.baseline
    else:
        known = shipped()
        errors = fit.residuals(table, known.calibration)
        spreads = np.full(len(errors), known.spread)
        plain = fit.baseline_errors(table, known.utilisation)
    sources = np.array(table.sources)
    used, misfits = _memory(table)
    return Score(
        overall=_errors(errors, spreads, plain),
        by_publisher={name: _errors(errors[at], spreads[at], plain[at]) for name in sorted(set(table.sources)) for at in [sources == name]},
        grids=grids(table, table.tokens_s * np.exp(-errors)),
        memory_runs=len(used),
        memory_median=float(np.median(used)) if len(used) else None,
        memory_misfits=misfits,
        left_out=tuple(str(problem) for problem in table.left_out),
    )


def _errors(errors: Floats, spreads: Floats, plain: Floats) -> Errors:
    wrong, baseline = np.abs(np.expm1(-errors)), np.abs(np.expm1(-plain))
    return Errors(
        runs=len(errors),
        mape=float(wrong.mean()),
        median=float(np.median(wrong)),
        p90=float(np.quantile(wrong, 0.9)),
        covered=float((np.abs(errors) <= spreads).mean()),
        baseline_mape=float(baseline.mean()),
        baseline_median=float(np.median(baseline)),
    )


def _memory(table: Table) -> tuple[Floats, int]:
    """Return relative errors of the memory that runs report, and how many runs are said not to fit."""
    model, layout, chip = table.columns()
    found = memory(model, layout)
    total, needed = np.broadcast_arrays(found.total, found.needed)
    reported = np.array([run.memory_gib or np.nan for run in table.runs]) * (1 << 30)
    known = ~np.isnan(reported)
    stated = np.array([run.recompute is not None for run in table.runs])
    return np.abs(total[known] / reported[known] - 1), int((stated & (needed > chip.memory_bytes)).sum())


def grids(table: Table, predicted: Floats) -> tuple[Grid, ...]:
    """Return every set of comparable runs with at least two layouts."""
    sets: dict[tuple[str, ...], dict[tuple[int, ...], list[int]]] = defaultdict(lambda: defaultdict(list))
    for at, run in enumerate(table.runs):
        sets[run.grid][_layout(run)].append(at)
    several = {" ".join(key): list(layouts.values()) for key, layouts in sets.items() if len(layouts) > 1}
    return tuple(_grid(name, layouts, table.tokens_s, predicted) for name, layouts in several.items())


def _layout(run: Run) -> tuple[int, ...]:
    return (run.tp, run.pp, run.vp, run.dp, run.cp, run.ep, run.zero, run.micro_batch)


def _grid(name: str, layouts: list[list[int]], measured: Floats, predicted: Floats) -> Grid:
    from scipy.stats import spearmanr

    real = np.array([measured[rows].mean() for rows in layouts])
    said = np.array([predicted[rows].mean() for rows in layouts])
    return Grid(
        name=name,
        layouts=len(layouts),
        picked_over_best=float(real[int(np.argmax(said))] / real.max()),
        median_over_best=float(np.median(real) / real.max()),
        spearman=float(spearmanr(said, real).statistic) if len(layouts) > 2 and np.ptp(real) > 0 and np.ptp(said) > 0 else None,
    )


def told(found: Score) -> str:
    """Return a score as text."""
    head = f"{'':<36} {'runs':>5} {'MAPE':>7} {'median':>7} {'p90':>7} {'in 80 %':>8}   constant utilisation: MAPE, median"
    lines = [head, *(_line(name, errors) for name, errors in (*found.by_publisher.items(), ("all", found.overall)))]
    if found.grids:
        lines += ["", f"{'grids: picked/best':<18} {'median layout':>14} {'rank corr.':>11}  layouts"]
        lines += [_grid_line(grid) for grid in found.grids]
        rank = "-" if found.spearman is None else f"{found.spearman:.3f}"
        lines.append(f"mean picked/best {found.picked_over_best:.3f} over {len(found.grids)} grids; mean rank correlation {rank}")
    if found.memory_median is not None:
        lines.append(f"memory: median error {found.memory_median:.1%} over {found.memory_runs} runs that report it")
    lines.append(f"published runs said not to fit: {found.memory_misfits}")
    lines += [f"left out: {one}" for one in found.left_out]
    return "\n".join(lines) + "\n"


def _line(name: str, e: Errors) -> str:
    return (
        f"{name:<36} {e.runs:>5} {e.mape:>7.1%} {e.median:>7.1%} {e.p90:>7.1%} {e.covered:>8.1%}"
        f"   {e.baseline_mape:.1%}, {e.baseline_median:.1%}"
    )


def _grid_line(grid: Grid) -> str:
    rank = "-" if grid.spearman is None else f"{grid.spearman:.2f}"
    return f"{grid.picked_over_best:>18.3f} {grid.median_over_best:>14.3f} {rank:>11}  {grid.layouts}: {grid.name}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Score a file from the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m headwater.framework.parallel.score", description="Score predictions.")
    parser.add_argument("file", type=Path, help="a CSV file of published runs")
    parser.add_argument("--leave-one-out", action="store_true", help="predict each publisher from the others instead")
    parser.add_argument("--json", type=Path, help="also write the score to this file")
    asked = parser.parse_args(arguments)
    try:
        found = score(read(asked.file), leave_one_out=asked.leave_one_out)
    except HeadwaterError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return error.exit_code
    sys.stdout.write(told(found))
    if asked.json is not None:
        whole = asdict(found) | {"picked_over_best": found.picked_over_best, "spearman": found.spearman}
        asked.json.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
