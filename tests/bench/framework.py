"""Parallel plans: search time in a cold process, the certified gap, prediction of publishers left out, ranking, correctness.

    python3 dev.py bench framework [--check] [--json FILE]

Prediction and ranking read the optional table of published runs beside the repository; without it they are left out.
The search is whole: every layout of a 70-billion-parameter decoder on 1,024 chips, with reading the model. AutoParallel
(meta-pytorch/autoparallel) is run beside it where `AUTOPARALLEL` names a checkout of it (with `pulp`), on a space that both
cover: tensor and data parallelism with sharded states, one micro-batch, no pipeline, no recomputation. It places every single
operator, ours whole layers, so the two spaces are not the same; nor are the objects of their costs. It needs no accelerator.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from headwater.framework.parallel.certify import certify
from headwater.framework.parallel.fit import leave_one_out
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.score import Score, score
from headwater.framework.parallel.search import search
from headwater.framework.parallel.table import read
from headwater.framework.program.named import named
from tests.bench._report import Figure, main

PUBLISHED = Path(__file__).resolve().parents[2].parent / "shared" / "parallel" / "published_throughput.csv"
MODEL, FLEET = "llama-3-70b", "1024xA100-80"
ROUNDS = 5
COLD = f"""
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.search import search
from headwater.framework.program.named import named
plans = search(named("{MODEL}"), Fleet.load("{FLEET}"))
print(plans.layouts, plans.gap)
"""
DESCRIBED = """
import time
import torch
from tests.flow.framework.test_describe import Decoder, tokens
from headwater.framework.program.describe import describe
with torch.device("meta"):
    model = Decoder([(80, 28672)], 8192, 64, 8, 128256)
began = time.perf_counter()
describe(model, [tokens(8192)])
print(time.perf_counter() - began)
"""
PEER = Path(__file__).parent / "peers" / "autoparallel_run.py"
SAME_SPACE = """
import time
import torch
from tests.flow.framework.test_describe import Decoder, tokens
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.search import search
from headwater.framework.program.describe import describe
with torch.device("meta"):
    model = Decoder([({layers}, 8192)], 2048, 16, 16, 32000)
began = time.perf_counter()
spec = describe(model, [tokens(1024)])
whole = dict(global_batch=64, may=lambda space: (space.layouts.pp == 1) & (space.layouts.cp == 1) & (space.layouts.ep == 1))
search(spec, Fleet.load("32xH100-80"), **whole)
print(time.perf_counter() - began)
"""


def cold(code: str) -> tuple[float, str]:
    """Return the seconds of a fresh Python that runs the code, and what it printed."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def searched() -> list[Figure]:
    """Measure the search: cold processes, the median of several; then the gap, twice certified."""
    runs = [cold(COLD) for _ in range(ROUNDS)]
    seconds = sorted(took for took, _ in runs)[ROUNDS // 2]
    layouts, gap = runs[0][1].split()
    reading = float(cold(DESCRIBED)[1])
    pipelined = search(named(MODEL), Fleet.load("64xA100-40"), global_batch=64).best
    proof = certify(named(MODEL), pipelined)
    whole = f"{layouts} layouts, median of {ROUNDS}"
    return [
        Figure(name=f"search, {MODEL} on {FLEET}, cold process", value=seconds, unit="s", at_most=2.0, note=whole),
        Figure(
            name="and reading it from an nn.Module",
            value=seconds + reading,
            unit="s",
            at_most=2.0,
            note="module built, torch loaded before",
        ),
        Figure(name="gap by the bound on every layout", value=100 * float(gap), unit="%", at_most=1.0),
        Figure(name="gap of the exact cut by HiGHS", value=100 * proof.gap, unit="%", at_most=1.0, note=pipelined.plan.name),
    ]


def beside() -> list[Figure]:
    """Time AutoParallel and ours on decoders over 4 x 8 chips, each in a cold process of its own."""
    checkout = os.environ.get("AUTOPARALLEL")
    if not checkout:
        print("AUTOPARALLEL names no checkout of meta-pytorch/autoparallel: it is left out.")
        return []
    found = []
    for layers in (2, 8):
        environment = os.environ | {"PYTHONPATH": checkout}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(PEER), str(layers), "4", "8"], capture_output=True, text=True, env=environment
        )
        if done.returncode:
            print(f"AutoParallel failed: {done.stderr.strip().splitlines()[-1][:200]}")
            return found
        built, solved = map(float, done.stdout.split()[-2:])
        ours = float(cold(SAME_SPACE.format(layers=layers))[1].split()[-1])
        told = f"{layers} layers, 4 x 8 chips; build {built:.1f} s, solve {solved:.1f} s"
        found.append(Figure(name=f"AutoParallel, {layers} layers", value=built + solved, unit="s", note=told))
        found.append(Figure(name=f"ours on tensor and data alone, {layers} layers", value=ours, unit="s", note="describe and search"))
    return found


def predicted() -> list[Figure]:
    """Score every publisher as predicted from the others, and the grids of one model."""
    table = read(PUBLISHED)
    found = score(table, leave_one_out=True)
    overall = found.overall
    inside = leave_one_out(table)
    left = f"{overall.runs} runs, {len(found.by_publisher)} publishers, each left out; spread {inside.spreads.mean():.3f}"
    each = found.by_publisher.items()
    return [
        Figure(name="tokens/s a chip, MAPE", value=100 * overall.mape, unit="%", at_most=12.0, note=left),
        Figure(name="tokens/s a chip, median error", value=100 * overall.median, unit="%", at_most=8.0),
        Figure(name="inside the 80 % interval, at least", value=100 * overall.covered, unit="%", at_least=75.0),
        Figure(name="inside the 80 % interval, at most", value=100 * overall.covered, unit="%", at_most=85.0),
        Figure(name="constant utilisation, MAPE", value=100 * overall.baseline_mape, unit="%"),
        Figure(name="constant utilisation, median error", value=100 * overall.baseline_median, unit="%"),
        *(Figure(name=f"  {name}, MAPE", value=100 * one.mape, unit="%", note=f"{one.runs} runs") for name, one in each),
        *ranked(found),
    ]


def ranked(found: Score) -> list[Figure]:
    """Return how good the picked layouts are."""
    assert found.picked_over_best is not None
    assert found.spearman is not None
    grids, runs = f"{len(found.grids)} grids", f"{found.memory_runs} runs"
    blind = sum(grid.median_over_best for grid in found.grids) / len(found.grids)
    return [
        Figure(name="picked over best layout, mean", value=found.picked_over_best, unit="", at_least=0.97, note=grids),
        Figure(name="median over best layout, mean", value=blind, unit="", note="choosing blindly"),
        Figure(name="rank correlation, mean", value=found.spearman, unit="", at_least=0.7),
        Figure(name="memory, median error", value=100 * (found.memory_median or 0), unit="%", at_most=10.0, note=runs),
    ]


def correct() -> list[Figure]:
    """Apply the families of plans in real processes, and compare each with one process."""
    from headwater.framework.parallel.verify import verify
    from tests.flow.framework.families import EIGHT, FOUR, decoder

    checks = [*verify(decoder, FOUR), *verify(decoder, EIGHT)]
    worst = max(max(check.loss_off, check.gradient_off) for check in checks)
    same = sum(check.counted == check.expected for check in checks)
    told = f"{sum(check.gradients for check in checks)} gradients; {len(FOUR)} plans on 4 processes, {len(EIGHT)} on 8"
    return [
        Figure(name="loss or gradient off one process, worst", value=worst, unit="", at_most=1e-5, note=told),
        Figure(name="plans whose messages are as counted", value=same, unit="plans", at_least=len(checks), note="to the byte"),
    ]


def measure() -> list[Figure]:
    """Return every figure."""
    if not PUBLISHED.is_file():
        print(f"{PUBLISHED} is not here: prediction and ranking are left out.")
        return [*searched(), *beside(), *correct(), *forms()]
    return [*searched(), *beside(), *predicted(), *correct(), *forms()]


def forms() -> list[Figure]:
    """Return what compiled, exported and compressed forms reach; each is a benchmark of its own too."""
    from tests.bench import compile as compiled
    from tests.bench import compression

    return [*compiled.measure(), *compression.measure()]


if __name__ == "__main__":
    main("framework", measure)
