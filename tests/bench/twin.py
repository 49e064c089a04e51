"""The twin against references, bounds and the clock: agreement first, then queueing, then speed.

    python -m tests.bench.twin [--part agreement|queueing|speed ...] [--quick] [--json FILE] [--check]

Agreement: the reference program's mean completion times, on every queueing trace, within 0.1 %. Queueing: ours beside published and
reference schedulers on the same trace in the same run, every row with the mean-busy-time lower bound. Speed: replays of made-up
arrivals over 50 sites. The parameters of `headwater` were chosen on these traces; there is no held-out one.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.compute.scheduler.policy import Policy, check, load
from headwater.compute.scheduler.shapes import QueueShape, SiteShape
from headwater.compute.twin.metrics import Measured, bounds_for, measure
from headwater.compute.twin.simulate import Setting, simulate
from headwater.compute.twin.sites import Federation, one_site, read_sites, shapes_for
from headwater.compute.twin.trace import Trace, trace_of
from headwater.compute.twin.traces import read_trace
from headwater.core.errors import Unavailable
from tests.bench._report import Figure, report

TRACES = Path(__file__).resolve().parents[2].parent / "shared" / "traces"
AGREE_WITHIN = 0.1
"""Per cent."""
UNITS = {
    "muri1": (64, 8),
    "muri3": (64, 8),
    "muri_testbed": (64, 8),
    "lublin1": (256, 256),
    "hpc2n_slice": (240, 240),
    "nasa_ipsc": (128, 128),
}
QUEUEING = ("muri1", "muri3", "muri_testbed", "philly_a", "lublin1", "hpc2n_slice")
REFERENCE: dict[str, dict[str, float]] = {
    "muri1": {"fifo": 10_313_081, "fifo_consolidated": 11_001_202, "easy_exact": 7_103_458, "shortest": 1_560_496,
              "shortest_consolidated": 1_623_609, "smallest_area": 1_217_400, "srtf": 1_333_917, "srsf": 952_245},
    "muri3": {"fifo": 991_167, "fifo_consolidated": 991_215, "easy_exact": 421_204, "shortest": 262_107, "shortest_consolidated": 262_107,
              "smallest_area": 242_927, "srtf": 180_116, "srsf": 172_684},
    "muri_testbed": {"fifo": 747_485, "fifo_consolidated": 747_499, "easy_exact": 368_934, "shortest": 279_097,
                     "shortest_consolidated": 279_097, "smallest_area": 256_410, "srtf": 219_557, "srsf": 215_288},
    "philly_a": {"fifo": 419_456, "fifo_consolidated": 1_787_863, "easy_exact": 373_681, "shortest": 113_793,
                 "shortest_consolidated": 409_516, "smallest_area": 111_751, "srtf": 46_795, "srsf": 46_813},
    "philly_a_real": {"fifo": 9_315, "easy_exact": 9_262, "shortest": 9_237},
    "lublin1": {"fifo": 2_393_306, "easy_exact": 102_019, "shortest": 280_167, "smallest_area": 108_914, "srtf": 31_588, "srsf": 55_833},
    "hpc2n_slice": {"fifo": 15_756, "easy_exact": 13_592, "easy": 13_676, "shortest": 12_886, "smallest_area": 12_461, "srtf": 11_631,
                    "srsf": 11_328},
    "nasa_ipsc": {"fifo": 780.3, "easy_exact": 776.3, "shortest": 772.7, "smallest_area": 772.6, "srtf": 772.5, "srsf": 772.4},
}  # fmt: skip
"""Mean completion in seconds, `shared/design/traces.md` section 4."""
AGREEMENT_BARS = frozenset({"fifo", "fifo_consolidated", "easy_exact", "easy", "shortest", "shortest_consolidated"})
PUBLISHED_TIRESIAS_S = {"muri1": 3_330_400.0, "muri3": 347_200.0}
"""Muri (SIGCOMM 2022), average completion of Tiresias-L on traces 1 and 3."""
STOPPING = {"backfill": {"kind": "skip"}, "preemption": {"when": "by_order", "restart_s": 30.0}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A trace and where it runs."""

    name: str
    trace: Trace
    federation: Federation

    def setting(self, policy: Policy) -> Setting:
        return Setting(sites=shapes_for(self.federation), policy=policy, pools=self.federation.pools)


def case(name: str) -> Case:
    """Return a shared trace on the sites of its reference. Raises Unavailable where the traces are not there."""
    stem, nodes = ("philly_a", "philly_a_nodes") if name == "philly_a_real" else (name, "philly_a_nodes_tight")
    file = TRACES / f"{stem}_jobs.parquet"
    if not file.is_file():
        raise Unavailable(f"The trace {file.name} is not in ../shared/traces.", "Put the shared traces beside the repository.")
    federation = read_sites(TRACES / f"{nodes}.parquet", silos=True) if stem == "philly_a" else one_site(*UNITS[name])
    return Case(name=name, trace=read_trace(file), federation=federation)


def variant(name: str) -> Policy:
    """Return a shipped policy, or one of the reference's variants of it."""
    if name != "shortest_consolidated":
        return load(name)
    policy = load("shortest")
    return policy.model_copy(update={"name": name, "placement": policy.placement.model_copy(update={"nodes": "consolidated"})})


def agreement(*, quick: bool) -> list[Figure]:
    """Return how far each policy is from the reference on each trace, in per cent."""
    figures = []
    for name, wanted in REFERENCE.items():
        if quick and name.startswith("philly"):
            continue
        one = case(name)
        for policy, reference in wanted.items():
            run = simulate(one.trace, one.setting(variant(policy)))
            mean = float(np.nanmean(run.end_s - one.trace.submit_s))
            note = f"{mean:,.1f} of {reference:,.1f} s"
            off = abs(mean / reference - 1) * 100
            bar = AGREE_WITHIN if policy in AGREEMENT_BARS else None
            figures.append(Figure(name=f"{name} {policy}", value=off, unit="% off", at_most=bar, note=note))
    return figures


def on_nodes(policy: Policy) -> Policy:
    return policy.model_copy(update={"placement": policy.placement.model_copy(update={"nodes": "consolidated"})})


def contenders(name: str) -> dict[str, Policy]:
    """Return the policies of the queueing table: non-clairvoyant, predicting, and clairvoyant, 30 s charged a stop.

    They count units, as the reference does; on the Muri traces ours is also shown with whole nodes of 8 kept together.
    """
    ours, srsf = load("headwater"), load("srsf")
    shape_only = ours.model_copy(update={"name": "ours, no knowledge", "order": ours.order.model_copy(update={"alike": "shape"})})
    stop_cost = srsf.preemption.model_copy(update={"restart_s": 30.0})
    las = {"by": "least_attained", "levels_unit_s": [3600.0 * 4**step for step in range(9)]}
    known = srsf.model_copy(update={"name": "ours, known", "preemption": stop_cost})
    placed = {"ours, no knowledge, nodes": on_nodes(shape_only), "ours, known, nodes": on_nodes(known)} if name.startswith("muri") else {}
    return {
        "fifo": load("fifo"),
        "easy, true times": load("easy_exact"),
        "tiresias-l (2 levels)": load("tiresias_l"),
        "2d-las (10 levels)": check({"name": "las", "order": las} | STOPPING, "bench"),
        "ours, no knowledge": shape_only,
        "ours, predicted": ours.model_copy(update={"name": "ours, predicted"}),
        "srsf, predicted times": load("srsf_predicted"),
        "ours, known": known,
        **placed,
        "srsf, free stops": srsf,
    }


HEAD = f"    {'':<26}{'mean s':>13}{'/bound':>8}{'/srsf':>8}{'median s':>12}{'p99 s':>13}{'slowdown':>11}{'fairness':>10}{'stops':>9}"


def line(name: str, found: Measured, srsf_s: float) -> str:
    """Return one row of the queueing table."""
    completion, slowdown, bounds = found.completion_s, found.slowdown, found.bounds
    assert completion is not None
    assert slowdown is not None
    assert bounds is not None
    fair = "-" if found.fairness is None else f"{found.fairness:.3f}"
    error = "" if found.estimate_error in (None, 1.0) else f"  median estimate off by x{found.estimate_error:.1f}"
    return (
        f"    {name:<26}{completion.mean:>13,.0f}{completion.mean / bounds.mean_completion_s:>8.2f}{completion.mean / srsf_s:>8.3f}"
        f"{completion.median:>12,.0f}{completion.p99:>13,.0f}{slowdown.mean:>11,.1f}{fair:>10}{found.preemptions:>9,}{error}"
    )


def queueing(*, quick: bool) -> list[Figure]:
    """Return ours against the published and reference schedulers, trace by trace, printing the whole table."""
    figures: list[Figure] = []
    for name in QUEUEING:
        if quick and name == "philly_a":
            continue
        one = case(name)
        bounds = bounds_for(one.trace, one.setting(load("fifo")))
        least_s = bounds.mean_completion_s if bounds is not None else float("nan")
        print(f"\n  {name}: {len(one.trace):,} jobs, lower bound of mean completion {least_s:,.0f} s\n{HEAD}")
        means: dict[str, float] = {}
        for label, policy in contenders(name).items():
            found = measure(simulate(one.trace, one.setting(policy)), bounds=bounds)
            assert found.completion_s is not None
            means[label] = found.completion_s.mean
            print(line(label, found, REFERENCE[name]["srsf"]), flush=True)
        figures += queueing_figures(name, means)
    return figures


def queueing_figures(name: str, means: dict[str, float]) -> list[Figure]:
    """Return the bars of one trace."""
    srsf, figures = REFERENCE[name]["srsf"], []
    if name in PUBLISHED_TIRESIAS_S:
        ratio = means["ours, no knowledge"] / PUBLISHED_TIRESIAS_S[name]
        figures.append(Figure(name=f"{name} no knowledge / published Tiresias-L", value=ratio, unit="x", at_most=0.6))
    baseline = min(means["tiresias-l (2 levels)"], means["2d-las (10 levels)"])
    figures += [
        Figure(name=f"{name} no knowledge / SRSF", value=means["ours, no knowledge"] / srsf, unit="x", at_most=1.6),
        Figure(name=f"{name} known / SRSF", value=means["ours, known"] / srsf, unit="x", at_most=1.03),
        Figure(
            name=f"{name} predicted / better non-clairvoyant baseline", value=means["ours, predicted"] / baseline, unit="x", at_most=1.0,
            note=f"loss against exact times: {means['ours, predicted'] / means['ours, known'] - 1:+.0%}",
        ),
    ]  # fmt: skip
    return figures


SITES, NODES, QUEUES = 50, 64, 1000
MOST_GROWTH = 1.5
"""How many times n log n counts as near it; the processor's time is compared."""


def arrivals(count: int, load_share: float, tenants: int = 0) -> Trace:
    """Return Poisson arrivals of log-normal run times and power-of-two sizes that offer this share of all units. Made up, seed 1."""
    rng = np.random.default_rng(1)
    units = rng.choice([1, 1, 1, 2, 4, 8, 8, 16, 32], count)
    duration = np.clip(rng.lognormal(7.0, 1.6, count), 5.0, 5e5).round()
    rate = load_share * SITES * NODES * 8 / float((duration * units).mean())
    trace = trace_of("made up", np.cumsum(rng.exponential(1.0 / rate, count)), duration, units)
    if tenants:
        trace.tenant[:] = [f"q{i}" for i in rng.integers(0, tenants, count)]
    return trace


def fifty_sites() -> tuple[SiteShape, ...]:
    return tuple(SiteShape(name=f"s{i}", node_units=(8,) * NODES) for i in range(SITES))


def pooled_easy() -> Policy:
    easy = load("easy_exact")
    changes = {
        "placement": easy.placement.model_copy(update={"load_weight": 1.0}),
        "backfill": easy.backfill.model_copy(update={"depth": 100}),
    }
    return easy.model_copy(update=changes)


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that a call took by the clock, and on the processor: they differ where others run beside it."""
    begun, worked = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - begun, time.process_time() - worked


def speed(*, quick: bool) -> list[Figure]:
    """Return how fast the twin replays and the core decides, compiled beforehand."""
    setting = Setting(sites=fifty_sites(), policy=pooled_easy())
    simulate(arrivals(500, 0.9), setting)
    figures, took = [], {}
    for count in (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000):
        trace = arrivals(count, 0.9)
        by_clock, took[count] = timed(lambda trace=trace: simulate(trace, setting))  # type: ignore[misc]
        bar = 60.0 if count == 1_000_000 else None
        note = f"{took[count]:.2f} s of processor, {took[count] / (count * np.log2(count)) * 1e9:.0f} ns per job and log2(jobs)"
        figures.append(Figure(name=f"{count:,} jobs over {SITES} sites, pooled EASY", value=by_clock, unit="s", at_most=bar, note=note))
    for less, more in itertools.pairwise(took):
        growth = took[more] / took[less] / (more * np.log2(more) / (less * np.log2(less)))
        figures.append(Figure(name=f"growth from {less:,} to {more:,} jobs over n log n", value=growth, unit="x", at_most=MOST_GROWTH))
    return figures + core_speed()


def core_speed() -> list[Figure]:
    """Return the core's rate and p99 over 50,000 jobs waiting at once in 1,000 queues for 50 sites, every moment timed."""
    from headwater.compute.scheduler.tables import decisions_table
    from headwater.compute.twin.simulate import state_for, world_for
    from headwater.compute.twin.simulate_kernel import DECIDED, MORE, advance

    trace = arrivals(50_000, 0.9, tenants=QUEUES)
    trace.submit_s[:] = 0.0
    policy = load("fair_share").model_copy(update={"estimates": load("easy_exact").estimates})
    setting = Setting(sites=fifty_sites(), policy=policy, queues=tuple(QueueShape(name=f"q{i}") for i in range(QUEUES)))
    state, rules = state_for(trace, setting), policy.rules()
    out = decisions_table(2 * len(trace))
    world = world_for(trace, setting, state, len(out.rows))
    spent, outcome = [], MORE
    while outcome == MORE:
        begun = time.perf_counter()
        outcome = advance(state, rules, world, 1, out)
        spent.append(time.perf_counter() - begun)
    rate = float(world.counts[DECIDED]) / sum(spent)
    return [
        Figure(
            name=f"core, 50,000 jobs, {QUEUES:,} queues, {SITES} sites", value=rate, unit="dec./s", at_least=10_000, note="fair share, EASY"
        ),
        Figure(
            name="core, p99 of one moment",
            value=float(np.percentile(spent, 99)) * 1000,
            unit="ms",
            at_most=50.0,
            note=f"max {max(spent) * 1000:.0f} ms",
        ),
    ]


PARTS = {"agreement": agreement, "queueing": queueing, "speed": speed}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the parts asked for and return the exit status."""
    parser = argparse.ArgumentParser(prog="dev.py bench twin")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; repeat for more")
    parser.add_argument("--quick", action="store_true", help="leave out what takes longest; its bars are then not counted")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bar is missed")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    asked = parser.parse_args(argv)
    figures = [figure for part in asked.part or PARTS for figure in PARTS[part](quick=asked.quick)]
    return report("twin", figures, check=asked.check, file=asked.json)


if __name__ == "__main__":
    sys.exit(main())
