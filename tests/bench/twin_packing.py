"""Packing requests for shares and cards on the OpenB nodes: published rules, ours, and bounds, side by side.

The experiment is that of Weng et al. (ATC 2023): 1,213 nodes with 6,212 devices, the pod list shuffled, then
drawn from again until 130 % of the devices have been asked for; a pod that fits nowhere is turned away; the
figure is the part of all devices in use at the end, mean of ten seeds. Where scores are equal the authors'
scheduler takes the node with the lowest name. The released lists carry other names than the experiment had,
so each seed is run over several random orders of nodes; the order of the list and two more are shown apart.

    python -m tests.bench.twin_packing [--seeds 10] [--quick] [--lists default,cpu200] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from headwater.compute.scheduler import packing, packing_bound
from headwater.compute.scheduler.packing_state import (
    CPU,
    DEVICES,
    MAX_DEVICES,
    MEMORY,
    MILLI,
    WHOLE_MILLI,
    Floats,
    Ints,
    Mix,
    Nodes,
    Request,
    mix_of,
    nodes_of,
)
from headwater.core.errors import BadInput, Unavailable

TRACES = Path(__file__).resolve().parents[2].parent / "shared" / "traces"
FIRST_SEED = 42
"""As in the source; ours was tuned on seeds 1 to 8."""
ORDERS = 3
"""Random node orders a seed: clustering and packing move by half a point with the order alone."""
LOAD = 1.3
LISTS = ("default", "cpu050", "cpu200", "gpushare40", "gpuspec33", "multigpu20")
PUBLISHED_RULES = ("random", "dot-product", "clustering", "packing", "best-fit", "fragmentation-gradient")
PUBLISHED = {
    "default": (87.47, 90.85, 91.88, 92.00, 93.08, 95.39),
    "cpu050": (91.24, 93.27, 93.79, 93.72, 93.79, 95.21),
    "cpu200": (83.77, 87.70, 89.92, 90.22, 92.40, 95.04),
    "gpushare40": (86.00, 89.56, 90.02, 90.03, 91.69, 94.15),
    "gpuspec33": (86.46, 89.14, 92.12, 93.22, 93.09, 94.55),
    "multigpu20": (88.69, 92.06, 93.56, 93.71, 93.93, 95.65),
}
"""Allocated % at 130 % arrived, analysis_allo_discrete.csv of the authors' expected results."""
FIRST_FIT_REFERENCE = {"default": 94.61, "cpu200": 93.57, "gpushare40": 92.93, "gpuspec33": 93.91, "multigpu20": 95.06}
"""Not published; a reference program of our own, one node order."""
AGREEMENT_POINTS = 0.5
"""With fewer than ten seeds, two standard errors more."""
SEEDS = 10
OURS_UNALLOCATED = 4.0
PLACEMENTS_A_SECOND = 5000
ALONE = 1000
REFUSE_NONE = "device patterns, none of the first 90 % refused"
OURS, LEARNING = packing.LEAST_WASTE, "least-waste, learning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A promise, and what came of it."""

    name: str
    wanted: str
    got: str
    met: bool


@dataclass(slots=True, kw_only=True)
class Results:
    """Everything measured; percentages of all devices."""

    seeds: int
    overcommitted: int = 0
    """Nodes and devices given twice, over all runs."""
    allocated: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """List, rule: one figure a seed and node order."""
    at_load: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """List, rule, arrived %: mean allocated %."""
    gangs: dict[str, dict[str, float]] = field(default_factory=dict)
    """List, rule: part of multi-device pods placed before the list began to repeat."""
    orders: dict[str, dict[str, float]] = field(default_factory=dict)
    bounds: dict[str, dict[str, float]] = field(default_factory=dict)
    a_second: dict[str, float] = field(default_factory=dict)
    """Placements of a stream, wall clock, one thread; a node's score is kept until the node changes."""
    alone_a_second: dict[str, float] = field(default_factory=dict)
    """Single calls of `place`, every node scored anew, from Python."""

    def mean(self, pods: str, rule: str) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.allocated[pods][rule]))

    def standard_error(self, pods: str, rule: str) -> float:
        """Of the mean."""
        figures = self.allocated[pods][rule]
        return float(np.std(figures) / len(figures) ** 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The nodes and one pod list."""

    nodes: Nodes
    pods: Ints
    mix: Mix


def load(pods: str, folder: Path = TRACES) -> Trace:
    """Return the OpenB nodes with devices and one pod list, in the order of the source file.

    Raises Unavailable where the traces are not there.
    """
    import polars as pl

    if not (folder / "openb_nodes.parquet").is_file():
        raise Unavailable("The OpenB traces are not here.", "Put the shared traces beside the repository.", where=str(folder))
    table = pl.read_parquet(folder / "openb_nodes.parquet").filter(pl.col("gpus") > 0).sort("node_id")
    types = {name: number for number, name in enumerate(sorted(table["gpu_type"].unique()))}
    nodes = nodes_of(
        (round(cores * 1000) for cores in table["cpus"]),
        (round(gib * 1024) for gib in table["memory_gib"]),
        table["gpus"].to_list(),
        (types[name] for name in table["gpu_type"]),
    )
    if pods == "default":
        listed = pl.read_parquet(folder / "openb_pods_default.parquet")
    else:
        listed = pl.read_parquet(folder / "openb_pods_variants.parquet").filter(pl.col("variant") == pods)
    rows = [_row(pod, types) for pod in listed.sort("row").iter_rows(named=True)]
    found = np.array(rows, np.int64)
    return Trace(nodes=nodes, pods=found, mix=mix_of(found))


def _row(pod: dict[str, object], types: dict[str, int]) -> tuple[int, int, int, int, int]:
    devices = int(str(pod["gpu_count"]))
    wanted = pod["gpu_type"] if devices else None
    mask = sum(1 << types[str(name)] for name in wanted if str(name) in types) if isinstance(wanted, list) else -1
    milli = min(int(str(pod["gpu_milli"])), WHOLE_MILLI) if devices else 0
    return round(float(str(pod["cpus"])) * 1000), round(float(str(pod["memory_gib"])) * 1024), devices, milli, mask


def arrivals(trace: Trace, seed: int, load: float = LOAD) -> tuple[Ints, Floats]:
    """Return the stream of one seed and two draws for each request.

    All pods in random order, less random ones while they ask for too much, then pods drawn with replacement
    until the next would pass the load. The source compares with one device's milli there; kept.
    """
    rng = np.random.default_rng(seed)
    asked = trace.pods[:, DEVICES] * trace.pods[:, MILLI]
    limit = load * float(trace.nodes.devices.sum()) * WHOLE_MILLI
    stream = [int(pod) for pod in rng.permutation(len(trace.pods))]
    total = int(asked.sum())
    while total > limit:
        total -= int(asked[stream.pop(int(rng.integers(len(stream))))])
    while True:
        pod = int(rng.integers(len(trace.pods)))
        if total + trace.pods[pod, MILLI] > limit:
            return trace.pods[stream], rng.random((len(stream), 2))
        total += int(asked[pod])
        stream.append(pod)


def _request(row: Ints) -> Request:
    cpu, memory, devices, milli, types = (int(value) for value in row)
    return Request(cpu_milli=cpu, memory_mib=memory, devices=devices, milli=milli, types=types)


def shuffled(nodes: Nodes, seed: int, order: int = 0) -> Nodes:
    """Return the nodes in one of this seed's orders."""
    return nodes.reordered(np.random.default_rng([seed, order]).permutation(len(nodes.devices)))


def measure(lists: Sequence[str], seeds: int, say: Callable[[str], None]) -> Results:
    """Return every figure of the table."""
    results = Results(seeds=seeds)
    for pods in lists:
        trace = load(pods)
        say(f"{pods}: {len(trace.pods)} pods, {len(trace.mix.shares)} shapes")
        _measure_list(results, pods, trace)
    _measure_orders(results, load(lists[0]))
    _measure_speed(results, load(lists[0]))
    return results


def _measure_list(results: Results, pods: str, trace: Trace) -> None:
    runs: dict[str, list[packing.Replay]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + results.seeds):
        requests, draws = arrivals(trace, seed)
        for order in range(ORDERS):
            nodes = shuffled(trace.nodes, seed, order)
            ahead = packing.outlook(nodes, trace.mix)
            for rule in packing.RULES:
                run = packing.replay(nodes, requests, ahead, draws, rule=rule)
                results.overcommitted += overcommitted(nodes, run)
                runs.setdefault(rule, []).append(run)
        runs.setdefault(LEARNING, []).append(packing.replay_learning(trace.nodes, requests, draws))
        if seed == FIRST_SEED:
            results.bounds[pods] = _bounds(trace.nodes, requests, runs[OURS][0])
    results.allocated[pods] = {rule: [100 * float(run.allocated[-1]) for run in of] for rule, of in runs.items()}
    results.at_load[pods] = {
        rule: {f"{load:.0%}": 100 * float(np.mean([run.allocated_at(load) for run in of])) for load in (0.9, 1.0, 1.1)}
        for rule, of in runs.items()
    }
    results.gangs[pods] = {rule: 100 * float(np.mean([_gangs_placed(run, len(trace.pods)) for run in of])) for rule, of in runs.items()}


def overcommitted(nodes: Nodes, run: packing.Replay) -> int:
    """Return how many nodes and devices were given more than they have, counted anew from the placements."""
    at = np.flatnonzero(run.node >= 0)
    node, asked = run.node[at], run.requests[at]
    cpu, memory = np.zeros_like(nodes.cpu_milli), np.zeros_like(nodes.memory_mib)
    np.add.at(cpu, node, asked[:, CPU])
    np.add.at(memory, node, asked[:, MEMORY])
    milli = np.zeros((len(cpu), MAX_DEVICES), np.int64)
    for device in range(MAX_DEVICES):
        holds = run.devices[at] >> device & 1 == 1
        np.add.at(milli, (node[holds], device), asked[holds, MILLI])
    has = np.where(np.arange(MAX_DEVICES) < nodes.devices[:, None], WHOLE_MILLI, 0)
    return int((cpu > nodes.cpu_milli).sum() + (memory > nodes.memory_mib).sum() + (milli > has).sum())


def _gangs_placed(run: packing.Replay, first: int) -> float:
    gangs = run.requests[:first, DEVICES] > 1
    return float((run.node[:first][gangs] >= 0).mean()) if gangs.any() else 1.0


def _bounds(nodes: Nodes, requests: Ints, ours: packing.Replay) -> dict[str, float]:
    early = ours.arrived <= 0.9
    bounds = {
        "any rule, volumes": 100 * packing_bound.vector_bound(nodes, requests),
        "any rule, device patterns": 100 * packing_bound.pattern_bound(nodes, requests),
    }
    with contextlib.suppress(BadInput):  # a list whose first 90 % cannot be placed whole has no such bound
        bounds[REFUSE_NONE] = 100 * packing_bound.pattern_bound(nodes, requests, must=requests[early])
    return bounds


def _measure_orders(results: Results, trace: Trace) -> None:
    """Ours and two peers on the list's own order, its reverse, and large nodes first."""
    size = len(trace.nodes.devices)
    large = np.argsort(-trace.nodes.devices, kind="stable")
    orders = {"as listed": np.arange(size), "reversed": np.arange(size)[::-1], "large nodes first": large}
    for name, order in orders.items():
        nodes = trace.nodes.reordered(order)
        ahead = packing.outlook(nodes, trace.mix)
        streams = [arrivals(trace, seed) for seed in range(FIRST_SEED, FIRST_SEED + results.seeds)]
        results.orders[name] = {
            rule: 100 * float(np.mean([packing.replay(nodes, asked, ahead, draws, rule=rule).allocated[-1] for asked, draws in streams]))
            for rule in ("first-fit", "fragmentation-gradient", OURS)
        }


def _measure_speed(results: Results, trace: Trace) -> None:
    requests, draws = arrivals(trace, FIRST_SEED)
    ahead = packing.outlook(trace.nodes, trace.mix)
    for rule in packing.RULES:
        packing.replay(trace.nodes, requests[:1], ahead, draws[:1], rule=rule)
        began = time.perf_counter()
        packing.replay(trace.nodes, requests, ahead, draws, rule=rule)
        results.a_second[rule] = len(requests) / (time.perf_counter() - began)
        began = time.perf_counter()
        for row in requests[:ALONE]:
            packing.place(trace.nodes, _request(row), ahead, rule=rule)
        results.alone_a_second[rule] = ALONE / (time.perf_counter() - began)


def bars(results: Results) -> list[Bar]:
    """Return the promises and what came of them."""
    twice = results.overcommitted
    found = [Bar(name="capacity", wanted="no node or device given twice in any run", got=f"{twice}", met=twice == 0)]
    for pods in results.allocated:
        off = {rule: results.mean(pods, rule) - figure for rule, figure in zip(PUBLISHED_RULES, PUBLISHED[pods], strict=True)}
        worst = max(off, key=lambda rule: abs(off[rule]))
        allowed = AGREEMENT_POINTS + (0.0 if results.seeds >= SEEDS else 2 * results.standard_error(pods, worst))
        wanted = f"every rule within {allowed:.2f} points of its published figure"
        found.append(Bar(name=f"agreement, {pods}", wanted=wanted, got=f"{worst} {off[worst]:+.2f}", met=abs(off[worst]) <= allowed))
    if "default" in results.allocated:
        left = 100 - results.mean("default", OURS)
        wanted = f"at most {OURS_UNALLOCATED} % unallocated"
        found.append(Bar(name="ours, default", wanted=wanted, got=f"{left:.2f} %", met=left <= OURS_UNALLOCATED))
    for pods in results.allocated:
        ours, best, first = results.mean(pods, OURS), max(PUBLISHED[pods]), results.mean(pods, "first-fit")
        met = ours >= max(best, first, FIRST_FIT_REFERENCE.get(pods, 0.0))
        wanted = f"at least published best {best:.2f} and first fit {first:.2f}"
        found.append(Bar(name=f"ours, {pods}", wanted=wanted, got=f"{ours:.2f} %", met=met))
    spread = sorted(100 - figures[OURS] for figures in results.orders.values())
    wanted = f"at most {OURS_UNALLOCATED} % unallocated in each of three node orders"
    got = f"{spread[0]:.2f} to {spread[-1]:.2f} %"
    found.append(Bar(name="ours, node order", wanted=wanted, got=got, met=spread[-1] <= OURS_UNALLOCATED))
    for rule in ("fragmentation-gradient", OURS):
        speed = results.a_second[rule]
        wanted = f"{PLACEMENTS_A_SECOND:,} placements a second on 1,213 nodes"
        found.append(Bar(name=f"speed, {rule}", wanted=wanted, got=f"{speed:,.0f}", met=speed >= PLACEMENTS_A_SECOND))
    return found


def table(results: Results) -> str:
    """Return the tables as text."""
    lines = [f"Allocated % of 6,212 devices at 130 % arrived, mean of {results.seeds} seeds x {ORDERS} node orders (published in brackets)"]
    for pods, rules in results.allocated.items():
        lines.append(f"\n{pods}")
        known = dict(zip(PUBLISHED_RULES, PUBLISHED[pods], strict=True))
        lines.append(f"  {'rule':<26}{'allocated':>10}{'sd':>6}  {'published':>9}{'unalloc.':>9}{'@90':>8}{'@100':>8}{'gangs':>8}")
        for rule, figures in rules.items():
            mean, loads = float(np.mean(figures)), results.at_load[pods][rule]
            shown = f"({known[rule]:.2f})" if rule in known else ""
            tail = f"{loads['90%']:>8.2f}{loads['100%']:>8.2f}{results.gangs[pods][rule]:>8.1f}"
            lines.append(f"  {rule:<26}{mean:>10.2f}{np.std(figures):>6.2f}  {shown:>9}{100 - mean:>9.2f}{tail}")
        lines += [f"  bound: {name:<42}{bound:>8.2f}" for name, bound in results.bounds[pods].items()]
    lines.append("\nNode orders (default list), allocated %")
    lines += [f"  {name:<20}" + "".join(f"{rule} {value:.2f}   " for rule, value in of.items()) for name, of in results.orders.items()]
    lines.append("\nPlacements a second, 1,213 nodes, one thread, wall clock: in a stream; by single calls on the empty fleet")
    lines += [f"  {rule:<26}{speed:>12,.0f}{results.alone_a_second[rule]:>12,.0f}" for rule, speed in results.a_second.items()]
    lines.append("\n'gangs': part of the multi-device pods of the first pass through the list that were placed.")
    lines.append("'least-waste' and 'fragmentation-gradient' are told the mix of the list; 'learning' counts what has arrived.")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables and the bars; with --check return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--lists", default=",".join(LISTS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    wanted = parser.parse_args(argv)
    try:
        results = measure(wanted.lists.split(","), 2 if wanted.quick else wanted.seeds, _say)
    except Unavailable as error:
        print(f"skipped: {error}")
        return 0
    judged = bars(results)
    print(table(results), "\n")
    for bar in judged:
        print(f"  {'met   ' if bar.met else 'MISSED'} {bar.name}: {bar.wanted}; {bar.got}")
    if wanted.json:
        wanted.json.write_text(json.dumps(asdict(results) | {"bars": [asdict(bar) for bar in judged]}, indent=1), encoding="utf-8")
    print(f"bars met: {sum(bar.met for bar in judged)} of {len(judged)}")
    return int(wanted.check and not all(bar.met for bar in judged))


if __name__ == "__main__":
    sys.exit(main())
