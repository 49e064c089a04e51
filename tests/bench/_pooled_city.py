"""The city of the pooling benchmark: the worked example's sites, the Alibaba 2026 nodes, and made-up jobs that are stated here whole.

Real are the node list (types, counts, accelerators a node) and whatever the worked example cites. Invented, and marked so by
being written here: which nodes stand at which site, hire, watts, the speed of the two types whose names the list withholds, and
every job. Rates on named chips come from the chip catalogue by roofline.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from headwater.compute.catalogue.chips import chips
from headwater.compute.catalogue.figures import Figure
from headwater.compute.catalogue.sites import CAPITAL
from headwater.compute.scheduler.shapes import SiteShape
from headwater.compute.scheduler.speeds import figures_of
from headwater.compute.scheduler.state import Floats
from headwater.compute.twin.asks import Ask, asks_of
from headwater.compute.twin.serving import Served, served
from headwater.compute.twin.sites import UNKNOWN_FIGURES, Federation, TwinSite, read_sites, shapes_for
from headwater.compute.twin.trace import Trace, trace_of
from headwater.core.errors import Unavailable

NODES = Path(__file__).resolve().parents[2].parent / "shared" / "traces" / "alibaba_spot2026_nodes.parquet"
BEGINS = datetime(2026, 12, 7, tzinfo=timezone(timedelta(hours=8)))
A100 = "nvidia/a100/sxm4-80gb"

# The type in the node list: chip, fen an hour, watts, speed where the catalogue has no figures, memory where it has none.
TYPES: dict[str, tuple[str, float, float, float, float | None]] = {
    "A10": ("nvidia/a10/pcie", 260, 150, 1.0, None),
    "A100-SXM4-80GB": (A100, 900, 400, 1.0, None),
    "A800-SXM4-80GB": ("nvidia/a800/sxm4-80gb", 850, 400, 1.0, None),
    "H800": ("nvidia/h800/sxm5-80gb", 2200, 700, 1.0, None),
    "GPU-series-1": ("withheld/series-1", 320, 200, 0.45, 32.0),
    "GPU-series-2": ("withheld/series-2", 820, 400, 0.95, 96.0),
}
# Which share of the nodes of each type stands where, and what hire costs there beside the list above.
STANDS: dict[str, tuple[float, dict[str, float]]] = {
    "beijing-haidian": (1.0, {"A100-SXM4-80GB": 0.20, "H800": 0.20, "A10": 0.10}),
    "beijing-yizhuang": (1.0, {"A800-SXM4-80GB": 1.0, "GPU-series-2": 0.5, "A10": 0.15}),
    "cloud-north": (1.5, {"A10": 0.25, "GPU-series-1": 0.5, "H800": 0.15, "A100-SXM4-80GB": 0.15}),
    "tianjin-wuqing": (0.95, {"A100-SXM4-80GB": 0.15, "A10": 0.20}),
    "hebei-zhangbei": (0.9, {"H800": 0.25, "A100-SXM4-80GB": 0.15, "GPU-series-2": 0.5}),
    "shanxi-datong": (0.85, {"A10": 0.30, "GPU-series-1": 0.5, "A100-SXM4-80GB": 0.10}),
    "inner-mongolia-horinger": (0.85, {"A100-SXM4-80GB": 0.25, "H800": 0.40}),
}
OWNERS = {
    "beijing-haidian": 0.20, "beijing-yizhuang": 0.09, "cloud-north": 0.16, "tianjin-wuqing": 0.07, "hebei-zhangbei": 0.16,
    "shanxi-datong": 0.09, "inner-mongolia-horinger": 0.23,
}  # fmt: skip
"""Whose jobs they are. Beijing and Tianjin come near their own capacity, the western sites to two thirds of theirs."""
TRAINING = (A100, "nvidia/a800", "nvidia/h800", "withheld/series-2")


def nodes_by_type() -> dict[str, list[int]]:
    """Return the accelerators of each node of the Alibaba list, by type. Raises Unavailable where it is not there."""
    import pyarrow.parquet as pq

    if not NODES.is_file():
        raise Unavailable(f"The node list {NODES.name} is not in ../shared/traces.", "Put the shared traces beside the repository.")
    columns = pq.read_table(NODES, columns=["gpu_type", "gpus"]).to_pydict()
    found: dict[str, list[int]] = {}
    for kind, gpus in zip(columns["gpu_type"], columns["gpus"], strict=True):
        found.setdefault(kind, []).append(int(gpus))
    return {kind: sorted(units, reverse=True) for kind, units in found.items()}


def city() -> Federation:
    """Return the worked example's sites with the Alibaba nodes in the place of their pools."""
    example, nodes = read_sites(CAPITAL, silos=False, begins=BEGINS), nodes_by_type()
    taken = dict.fromkeys(nodes, 0)
    rows: list[TwinSite] = []
    for place, (factor, shares) in STANDS.items():
        for kind, share in shares.items():
            chip, fen, watts, speed, memory_gib = TYPES[kind]
            begin, taken[kind] = taken[kind], taken[kind] + round(share * len(nodes[kind]))
            catalogued = chips().by_id.get(chip)
            known = None if catalogued is None else catalogued.figure("memory_gib")
            row = replace(
                example.rows(place)[0],
                name=f"{place}/{chip.split('/')[1]}",
                node_units=tuple(nodes[kind][begin : taken[kind]]),
                chip=chip,
                figures=UNKNOWN_FIGURES if catalogued is None else figures_of(catalogued),
                chip_memory_gib=known.value if isinstance(known, Figure) else memory_gib,
                speed=speed,
                fen_per_unit_h=fen * factor,
                watts_per_unit=watts,
            )
            rows.append(_with_contract(row))
    return replace(example, sites=tuple(rows), carbon="market")


def _with_contract(row: TwinSite) -> TwinSite:
    """Return the row with the grid's factor where it states no contract, as the GHG Protocol's market-based method has it."""
    return replace(row, market_kgco2_per_kwh=row.location_kgco2_per_kwh) if row.market_kgco2_per_kwh is None else row


def jobs(federation: Federation, seed: int, *, days: float, load_share: float) -> Trace:
    """Return Poisson arrivals, busier by day, about 9,000 for each of `days`, that offer this share of the city's capacity.

    Sizes are powers of two, run times log-normal and stated for one A100 each; users state 1.5 to 6 times the run time. A third
    of the jobs train on large chips, bound by arithmetic; the rest take any chip with the memory they need. Some must stay in
    Beijing or with the city's own centre. Seven in ten inputs lie at the owner's site, the others at a linked one.
    """
    rng = np.random.default_rng(seed)
    shapes = shapes_for(federation)
    count = int(days * 9000)
    rows = [_job(rng, federation) for _ in range(count)]
    matched = served(asks_of([ask for _, ask, _, _ in rows]), shapes)
    kept = np.flatnonzero(_runs_at_home(matched, shapes, [home for home, _, _, _ in rows], [units for _, _, units, _ in rows]))
    homes, asks, units, hours = (list(column) for column in zip(*(rows[row] for row in kept), strict=True))
    duration = np.array(hours) * 3600.0
    work = float((duration * units).sum())
    need = np.bincount(matched.klass[kept], weights=duration * units, minlength=len(matched.matrix))
    span_s = work / (load_share * capacity(matched, shapes, need))
    submit = _daily(np.sort(rng.uniform(0.0, span_s, len(kept))))
    trace = trace_of(f"city, seed {seed}", submit, duration.round(), np.array(units), pool=homes, asks=asks_of(asks))
    trace.walltime_s[:] = np.ceil(duration * rng.uniform(1.5, 6.0, len(kept)))
    trace.tenant[:] = [f"{home}-{team}" for home, team in zip(homes, rng.integers(0, 6, len(kept)), strict=True)]
    trace.label[:] = [f"job{kind}" for kind in rng.integers(0, 12, len(kept))]
    return trace


def _job(rng: np.random.Generator, federation: Federation) -> tuple[str, Ask, int, float]:
    home = str(rng.choice(list(OWNERS), p=list(OWNERS.values())))
    linked = sorted({end for link in federation.links if home in link.ends for end in link.ends} - {home})
    trains = rng.random() < 0.35
    units = int(rng.choice([8, 16, 32, 64], p=[0.6, 0.25, 0.1, 0.05]) if trains else rng.choice([1, 2, 4, 8], p=[0.6, 0.15, 0.15, 0.1]))
    hours = float(np.clip(rng.lognormal(np.log(3.0 if trains else 1.0), 1.1), 0.05, 60.0))
    residency = rng.choice(["none", "beijing", "government"], p=[0.88, 0.08, 0.04]) if home.startswith("beijing") else "none"
    ask = Ask(
        chips=TRAINING if trains else None,
        chip_memory_gib=None if trains else float(rng.choice([16.0, 32.0, 64.0], p=[0.6, 0.25, 0.15])),
        residency=None if residency == "none" else (str(residency),),
        input_gib=float(np.clip(rng.lognormal(np.log(60.0 if trains else 15.0), 1.3), 0.1, 5000.0)),
        input_site=home if rng.random() < 0.7 or residency != "none" else str(rng.choice(linked)),
        reference=A100,
        bound="compute" if trains else "memory",
    )
    return home, ask, units, hours


def _runs_at_home(matched: Served, shapes: tuple[SiteShape, ...], homes: list[str], units: list[int]) -> list[bool]:
    """Whether each job could run at its owner's site, so that silos can be compared at all."""
    large = np.array([sum(shape.node_units) for shape in shapes])
    place = np.array([shape.place for shape in shapes], object)
    return [
        bool((matched.may[klass] & (place == home) & (large >= size)).any())
        for klass, home, size in zip(matched.klass, homes, units, strict=True)
    ]


def capacity(matched: Served, shapes: tuple[SiteShape, ...], need: Floats) -> float:
    """Return the city's units, each counted at the mean speed of the work that may use it; `need` is each class's work."""
    speed = (matched.speed * need[:, None]).sum(axis=0) / np.maximum((matched.may * need[:, None]).sum(axis=0), 1.0)
    return float((speed * [sum(shape.node_units) for shape in shapes]).sum())


def _daily(even_s: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Move evenly spread moments so that the rate swings by half around its mean, highest at 15:00."""
    day = 86_400.0
    grid = np.arange(0.0, even_s[-1] + day, 300.0)
    rate = 1.0 + 0.5 * np.cos(2 * np.pi * (grid - 15 * 3600.0) / day)
    passed = np.concatenate([[0.0], np.cumsum(rate[:-1]) * 300.0])
    return np.interp(even_s, passed, grid)
