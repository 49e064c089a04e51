"""Fit the cost model's constants to published runs, and tell how well they say what they have not seen.

    python3 -m headwater.framework.parallel.fit FILE.csv [--write]

Robust least squares on the logarithm of step time, in the logarithm of each constant. A constant starts from its
default in `Calibration`, a plausible value of hardware, and is held there by the width given here: with few publishers
and fifteen constants nothing else would extrapolate. Rows of one publisher share its software's speed, so they are far
from independent: the residual's scale is wide, and all publishers count alike, however many rows they have.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.core.errors import BadInput, HeadwaterError
from headwater.framework.parallel.columns import PRECISIONS, Floats
from headwater.framework.parallel.table import Table, read
from headwater.framework.parallel.times import NAMES, Calibration, step_terms
from headwater.framework.parallel.work import head_work, layer_work

WIDTHS = {
    "matmul": 0.15,
    "attention": 0.25,
    "bias": 0.25,
    "link": 0.25,
    "block_scale": 0.3,
    "tensor_exposed": 0.3,
    "launch": 0.3,
    "passes": 0.4,
    "attention_fade": 0.4,
    "bias_fade": 0.4,
    "reduce_exposed": 0.4,
    "step": 1.0,
    "micro": 0.7,
    "context_exposed": 0.7,
    "gather_exposed": 0.7,
}
"""How far a constant's logarithm may plausibly lie from its default (one standard deviation)."""
OTHER_WIDTH = 0.5
SCALE = 0.5
LEVEL = 0.8


def measured_s(table: Table) -> Floats:
    """Return the measured seconds of a step of each run."""
    tokens = np.array([run.global_batch * run.seq_len for run in table.runs], float)
    chips = np.array([run.tp * run.pp * run.dp * run.cp for run in table.runs], float)
    return np.asarray(tokens / (table.tokens_s * chips))


def residuals(table: Table, calibration: Calibration) -> Floats:
    """Return the logarithm of predicted over measured step time of each run."""
    return np.asarray(np.log(step_terms(*table.columns(), calibration).total / measured_s(table)))


def balance(sources: Sequence[str]) -> Floats:
    """Return weights whose squares add up alike for every publisher, and to one a run on average."""
    counts = Counter(sources)
    weights = np.array([counts[source] ** -0.5 for source in sources])
    return np.asarray(weights / np.sqrt(np.mean(weights**2)))


def fit(table: Table) -> Calibration:
    """Return the constants that fit the runs."""
    from scipy.optimize import least_squares

    columns, measured, weights = table.columns(), measured_s(table), balance(table.sources)
    start = np.log([getattr(Calibration(), name) for name in NAMES])
    widths = np.array([WIDTHS.get(name, OTHER_WIDTH) for name in NAMES])

    def off(logs: Floats) -> Floats:
        error = np.log(step_terms(*columns, _calibration(logs)).total / measured)
        return np.concatenate([weights * error / SCALE, (logs - start) / widths])

    return _calibration(least_squares(off, start, loss="soft_l1", max_nfev=60).x)


def _calibration(logs: Floats) -> Calibration:
    return Calibration(**dict(zip(NAMES, np.exp(logs).tolist(), strict=True)))


def spread(errors: Floats, sources: Sequence[str], level: float = LEVEL) -> float:
    """Return the half width that covers `level` of the errors of runs not seen (split conformal).

    A publisher of n runs counts as the square root of n.
    """
    size, weights = np.abs(errors), balance(sources)
    order = np.argsort(size, kind="stable")
    share = np.cumsum(weights[order]) / weights.sum()
    return float(size[order][min(int(np.searchsorted(share, level)), len(order) - 1)])


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Each publisher's runs as predicted from the others."""

    errors: Floats
    """Logarithm of predicted over measured step time."""
    spreads: Floats
    """The interval's half width for each run, from errors within the other publishers alone."""
    baseline: Floats
    """Errors of constant utilisation, learnt from the other publishers too."""


def leave_one_out(table: Table) -> LeftOut:
    """Predict every publisher's runs from the other publishers' alone. Raises BadInput where there are fewer than three."""
    sources = np.array(table.sources)
    names = sorted(set(table.sources))
    if len(names) < 3:
        raise BadInput(f"{len(names)} publishers in the table.", "Leaving one out needs at least three.")
    errors, spreads, plain = (np.zeros(len(sources)) for _ in range(3))
    for name in names:
        rest = table.taken(list(sources != name))
        out = sources == name
        errors[out] = residuals(table.taken(list(out)), fit(rest))
        spreads[out] = spread(_inner(rest), rest.sources)
        plain[out] = baseline_errors(table.taken(list(out)), utilisation(rest))
    return LeftOut(errors=errors, spreads=spreads, baseline=plain)


def _inner(table: Table) -> Floats:
    sources = np.array(table.sources)
    errors = np.zeros(len(sources))
    for name in sorted(set(table.sources)):
        out = sources == name
        errors[out] = residuals(table.taken(list(out)), fit(table.taken(list(~out))))
    return errors


def ideal_s(table: Table) -> Floats:
    """Return the seconds of a step at full peak without recomputation: what utilisation is a part of."""
    model, layout, chip = table.columns()
    work = layer_work(model.blocks[0], model, layout)
    layer = 3 * (work.matmul_flops + work.attention_flops) * model.layers / layout.pp
    flops = layer + 3 * head_work(model, layout).matmul_flops / layout.pp
    peak = np.take_along_axis(chip.peak, layout.precision.astype(int)[:, None], -1)[:, 0]
    return np.asarray(layout.micro_batches * flops / peak)


def utilisation(table: Table) -> dict[str, float]:
    """Return the median part of the peak that training reaches, by number format; `any` for those not seen."""
    part = ideal_s(table) / measured_s(table)
    kinds = np.array([PRECISIONS[run.precision] for run in table.runs])
    return {"any": float(np.median(part))} | {kind: float(np.median(part[kinds == kind])) for kind in sorted(set(kinds.tolist()))}


def baseline_errors(table: Table, parts: dict[str, float]) -> Floats:
    """Return the errors of constant utilisation."""
    part = np.array([parts.get(PRECISIONS[run.precision], parts["any"]) for run in table.runs])
    return np.asarray(np.log(ideal_s(table) / part / measured_s(table)))


def written(table: Table, name: str) -> str:
    """Return `calibration.toml` for a table: the constants, the interval and the baseline."""
    found, out = fit(table), leave_one_out(table)
    wrong = np.abs(np.expm1(-out.errors))
    constants = "\n".join(f"{key} = {getattr(found, key):.4g}" for key in NAMES)
    parts = "\n".join(f"{key} = {value:.4f}" for key, value in utilisation(table).items())
    return f"""# Written by `python3 -m headwater.framework.parallel.fit`; what each constant means is told in `times.Calibration`.
provenance = "{len(table.runs)} published runs of {len(set(table.sources))} publishers ({name}); none measured by this project"

[constants]
{constants}

[interval]
# Covers 80 % of the errors of publishers left out, each publisher of n runs counted as the square root of n.
spread = {spread(out.errors, table.sources):.4f}

[left_out]
# Each publisher predicted from the others: error of tokens a second for each chip.
mape = {wrong.mean():.4f}
median = {np.median(wrong):.4f}

[baseline]
# Constant utilisation: the median part of the peak, by number format.
{parts}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, print, and with --write replace the shipped constants."""
    parser = argparse.ArgumentParser(prog="python3 -m headwater.framework.parallel.fit", description="Fit the planner's constants.")
    parser.add_argument("file", type=Path, help="a CSV file of published runs")
    parser.add_argument("--write", action="store_true", help="replace the shipped constants")
    asked = parser.parse_args(arguments)
    try:
        text = written(read(asked.file), asked.file.name)
    except HeadwaterError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return error.exit_code
    sys.stdout.write(text)
    if asked.write:
        Path(__file__).with_name("calibration.toml").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
