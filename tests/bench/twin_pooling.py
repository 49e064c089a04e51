"""Pooling: siloed sites, least-loaded and cheapest-first pooling, and ours, over the worked example with the Alibaba 2026 nodes.

    python -m tests.bench.twin_pooling [--seeds N] [--days D] [--load L] [--json FILE] [--check]

Five axes, lower is better: cost, waiting, carbon by the grid and by contract, egress. All policies get the same jobs, the users'
stated run times and EASY backfill; see `_pooled_city.py` for what is real and what is made up. Ours was tuned on seeds 101 to 103,
which the figures below do not use.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.compute.scheduler.policy import Policy, check, load
from headwater.compute.twin.metrics import Measured, bounds_for, measure
from headwater.compute.twin.simulate import Setting, simulate
from headwater.compute.twin.sites import Federation, apart, shapes_for
from headwater.compute.twin.trace import Trace
from tests.bench._pooled_city import city, jobs
from tests.bench._report import Figure, report

AXES = ("cost, million yuan", "mean wait, min", "CO2 by grid, t", "CO2 by contract, t", "egress, TiB")
OURS, FIRST_COME = "ours", "ours, in order of coming"
"""The second shows what placement does alone; it has no bars."""
MOST_WORSE = 1.02
WIDTHS = (14, 12, 10, 9, 10, 8, 8, 8)
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
"""Student's t for a 95 % interval, by degrees of freedom."""
SAME = {"order": {"by": "fifo"}, "backfill": {"kind": "easy", "depth": 200}, "estimates": {"source": "user"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A policy, and whether every site keeps to its own jobs under it."""

    policy: Policy
    silos: bool = False


def contenders() -> dict[str, Contender]:
    """Return what is compared; all but ours differ in nothing but where a job may and does go. Ours also starts the smallest first."""

    def same(name: str, **placement: float) -> Policy:
        return check(SAME | {"name": name, "placement": placement}, "bench")

    ours = load("pooling")
    return {
        "siloed sites": Contender(policy=same("silos"), silos=True),
        "least-loaded pooling": Contender(policy=same("least-loaded", load_weight=1.0)),
        "cheapest-first pooling": Contender(policy=same("cheapest-first", price_weight=1.0)),
        OURS: Contender(policy=ours),
        FIRST_COME: Contender(policy=ours.model_copy(update={"name": "ours-fifo", "order": load("fifo").order})),
    }


def replayed(one: Contender, trace: Trace, federation: Federation) -> Measured:
    """Return the figures of one contender on one seed."""
    sites = apart(federation) if one.silos else federation
    setting = Setting(sites=shapes_for(sites), policy=one.policy, pools=sites.pools)
    run = simulate(trace, setting)
    found = measure(run, federation=sites, bounds=None if one.silos else bounds_for(trace, setting, run.served))
    if found.ended != len(trace):
        raise AssertionError(f"{one.policy.name}: {len(trace) - found.ended} of {len(trace)} jobs never ended")
    return found


def axes(found: Measured) -> tuple[float, ...]:
    """Return the run's place on the five axes."""
    account, wait = found.account, found.wait_s
    assert account is not None
    assert wait is not None
    sums = (account.cost_fen, account.location_kgco2, account.market_kgco2)
    if any(part.whole is None for part in sums):
        raise AssertionError("a price, a power or a carbon factor of the city is not known")
    cost, grid, contract = (part.known for part in sums)
    return cost / 1e8, wait.mean / 60, grid / 1000, contract / 1000, account.egress_gib / 1024


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the half width of its 95 % interval."""
    half = T_95.get(len(values) - 1, 2.0) * float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return float(np.mean(values)), half


def mean_of(found: Sequence[object], name: str) -> float:
    """Return the mean of one figure over the seeds, NaN where it is not known for one."""
    return float(np.mean([np.nan if (value := getattr(one, name)) is None else value for one in found]))


def table(placed: dict[str, list[tuple[float, ...]]], others: dict[str, list[Measured]]) -> None:
    """Print every contender's mean on every axis with its interval, then what else a reader needs to judge it."""
    print(f"\n    {'':<26}" + "".join(f"{axis:>24}" for axis in AXES))
    for name, rows in placed.items():
        cells = [spread(column) for column in zip(*rows, strict=True)]
        print(f"    {name:<26}" + "".join(f"{f'{mean:,.2f} ± {half:,.2f}':>24}" for mean, half in cells))
    least = [found.least for found in others[OURS]]
    cost, grid, contract, egress = (mean_of(least, name) for name in ("cost_fen", "location_kgco2", "market_kgco2", "egress_gib"))
    line = (cost / 1e8, 0.0, grid / 1000, contract / 1000, egress / 1024)
    print(f"    {'lower bound, each alone':<26}" + "".join(f"{cell:>24,.2f}" for cell in line))
    heads = zip(("completion h", "p99 wait h", "slowdown", "p99", "fairness", "use", "fragm.", "stops"), WIDTHS, strict=True)
    print(f"\n    {'':<26}" + "".join(f"{head:>{width}}" for head, width in heads))
    for name, found in others.items():
        print(f"    {name:<26}" + _other(found))
    bound = mean_of([one.bounds for one in others[OURS]], "mean_completion_s") / 3600
    print(f"    lower bound of mean completion {bound:.2f} h (mean busy time)")


def _other(found: Sequence[Measured]) -> str:
    completion = mean_of([one.completion_s for one in found], "mean") / 3600
    wait, slow99 = mean_of([one.wait_s for one in found], "p99") / 3600, mean_of([one.slowdown for one in found], "p99")
    slow = mean_of([one.slowdown for one in found], "mean")
    fair, use, torn, stops = (mean_of(found, name) for name in ("fairness", "utilisation", "fragmentation", "preemptions"))
    return f"{completion:>14.2f}{wait:>12.2f}{slow:>10.1f}{slow99:>9.1f}{fair:>10.3f}{use:>8.1%}{torn:>8.1%}{stops:>8.0f}"


def figures(placed: dict[str, list[tuple[float, ...]]]) -> list[Figure]:
    """Return the bars: ours beside each other contender, seed by seed in pairs."""
    ours, found = placed[OURS], []
    means = {name: np.mean(rows, axis=0) for name, rows in placed.items()}
    over = [name for name in means if name not in (OURS, FIRST_COME) and (means[name] <= means[OURS]).all()]
    found.append(Figure(name="contenders at least as good on all axes", value=len(over), unit="", at_most=0, note="0: on the Pareto front"))
    for name, rows in placed.items():
        if name in (OURS, FIRST_COME):
            continue
        ratios = [spread(list(column)) for column in (np.array(ours) / np.array(rows)).T]
        better = sum(mean + half < 1.0 for mean, half in ratios)
        worst = max(range(len(AXES)), key=lambda axis: ratios[axis][0])
        for axis, (mean, half) in zip(AXES, ratios, strict=True):
            found.append(Figure(name=f"{axis.split(',')[0]}, ours / {name}", value=mean, unit="x", note=f"± {half:.3f}"))
        found.append(Figure(name=f"axes better than {name}", value=better, unit="", at_least=2, note="whole 95 % interval below 1"))
        found.append(Figure(name=f"worst axis beside {name}", value=ratios[worst][0], unit="x", at_most=MOST_WORSE, note=AXES[worst]))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Replay every contender on every seed and return the exit status."""
    parser = argparse.ArgumentParser(prog="dev.py bench twin_pooling")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds, from 1 on")
    parser.add_argument("--from-seed", type=int, default=1)
    parser.add_argument("--days", type=float, default=2.0, help="how many jobs: about 9,000 for each")
    parser.add_argument("--load", type=float, default=0.8, help="offered share of the city's capacity")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bar is missed")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    asked = parser.parse_args(argv)
    federation = city()
    placed: dict[str, list[tuple[float, ...]]] = {}
    others: dict[str, list[Measured]] = {}
    for seed in range(asked.from_seed, asked.from_seed + asked.seeds):
        trace = jobs(federation, seed, days=asked.days, load_share=asked.load)
        print(f"  seed {seed}: {len(trace):,} jobs over {(trace.submit_s[-1] - trace.submit_s[0]) / 86400:.1f} days", flush=True)
        for name, one in contenders().items():
            found = replayed(one, trace, federation)
            placed.setdefault(name, []).append(axes(found))
            others.setdefault(name, []).append(found)
    table(placed, others)
    return report("twin_pooling", figures(placed), check=asked.check, file=asked.json)


if __name__ == "__main__":
    sys.exit(main())
