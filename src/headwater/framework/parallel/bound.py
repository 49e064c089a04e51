"""A lower bound for every layout at once, and what its exact cut is made of.

The bound lets layers and recomputation be fractions. It never exceeds what `predict` says of any stages of the layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headwater.framework.parallel.columns import ChipColumns, Floats, ModelColumns
from headwater.framework.parallel.cuts import StageCosts
from headwater.framework.parallel.memory import RESERVE, Needs, in_flight, needs
from headwater.framework.parallel.predict import GIB
from headwater.framework.parallel.space import Space
from headwater.framework.parallel.times import Calibration, Units, unit_times, whole_step
from headwater.framework.program.model_spec import ModelSpec

HALVINGS = 30
EDGE = 1 - 1e-7
"""Floating point may make a bound and the exact figure differ in the last digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A space with the bound of each layout, and the units that its stages are made of."""

    space: Space
    model: ModelColumns
    chips: tuple[ChipColumns, ...]
    """One for each pool."""
    units: tuple[Units, ...]
    need: Needs
    layers: int
    calibration: Calibration
    bound_s: Floats

    def pools(self, row: int) -> Floats:
        """Return the pool of each stage."""
        ranks = self.space.layouts.chips[row] / self.space.layouts.pp[row]
        return np.repeat(np.arange(len(self.chips)), [int(pool.count / ranks) for pool in self.space.fleet.pools])

    def costs(self, row: int) -> StageCosts:
        """Return what the stages of a layout are made of."""
        layout = self.space.layouts.taken([row])
        stages = int(layout.pp[0])
        pool = self.pools(row).astype(int)
        flight = in_flight(layout, np.arange(stages, dtype=float))
        first, last = np.arange(stages) == 0, np.arange(stages) == stages - 1
        tied = float(self.model.tied.item())
        ends = _at(self.need.ends, row) * np.where(first & last, 2.0 - tied, np.where(first | last, 1.0, 0.0))
        capacity = np.array([chip.memory_bytes.item() for chip in self.chips])[pool] / (1 + RESERVE)
        kept, ones = _at(self.need.kept, row), np.ones(stages)
        return StageCosts(
            layer_s=np.array([_at(one.layer.total, row) for one in self.units])[pool],
            again_s=np.array([_at(one.layer.forward, row) for one in self.units])[pool],
            fixed_s=np.where(last, np.array([_at(one.head, row) for one in self.units])[pool], 0.0),
            layer_bytes=_layer_bytes(self.need, row) * ones,
            kept_bytes=flight * kept,
            input_bytes=flight * _at(self.need.boundary, row),
            working_bytes=kept * ones,
            room_bytes=capacity - ends - np.where(last, _at(self.need.logits, row), 0.0) - _at(self.need.buffers, row),
        )

    def total(self, row: int) -> Callable[[float, float], float]:
        """Return the step's seconds as a function of the slowest stage and the sum of stages, for comparing cuts."""
        layout = self.space.layouts.taken([row])
        wait = float(((layout.pp - 1) / layout.vp / layout.pp).item())
        busy = float(layout.micro_batches.item())
        # gathering sharded weights hides behind the stages: where it does not, it rules, so the total never falls
        units, still = _row(self.units[0], row), np.zeros(1)
        gathered = whole_step(units, still, still, self.model, layout, self.chips[0], self.calibration).data.item()
        hidden = (1 - self.calibration.gather_exposed) * float(gathered) if layout.zero.item() >= 3 else 0.0

        def total(slowest: float, amount: float) -> float:
            return max(busy * slowest, hidden) + wait * amount

        return total

    def least_over_gib(self) -> tuple[float, int]:
        """Return by how much the layout that comes nearest to fitting misses, and its row: all layers recomputed."""
        layout = self.space.layouts
        share = self.layers / layout.pp
        flight = in_flight(layout, np.zeros(1))
        ends = self.need.ends * np.where(layout.pp == 1, 2.0 - self.model.tied, 1.0)
        logits = np.where(layout.pp == 1, self.need.logits, 0.0)
        state = self.need.parameter + self.need.gradient + self.need.state
        bytes_ = share * state + ends + flight * share * self.need.boundary + self.need.kept + logits + self.need.buffers
        over = np.broadcast_to(bytes_ * (1 + RESERVE), layout.pp.shape) - min(chip.memory_bytes.item() for chip in self.chips)
        row = int(np.argmin(over))
        return max(float(over[row]), 0.0) / GIB, row


def price(spec: ModelSpec, found: Space, k: Calibration) -> Priced:
    """Return a space with its bounds; infinite where a layout cannot fit or the chip lacks the number format."""
    model = ModelColumns.of(spec)
    chips = tuple(ChipColumns.of([pool.chip]) for pool in found.fleet.pools)
    units = tuple(unit_times(model, found.layouts, chip, k) for chip in chips)
    priced = Priced(
        space=found,
        model=model,
        chips=chips,
        units=units,
        need=needs(model, found.layouts),
        layers=spec.layers,
        calibration=k,
        bound_s=np.zeros(len(found)),
    )
    slowest = _slowest(priced)
    bounds = _bounds(priced, slowest)
    return Priced(space=found, model=model, chips=chips, units=units, need=priced.need, layers=spec.layers, calibration=k, bound_s=bounds)


def _bounds(priced: Priced, slowest: Floats) -> Floats:
    """Return bounds from the least slowest stage: waiting and messages at the pace of whichever pool is best at them."""
    layout, none = priced.space.layouts, np.zeros(1)
    busy = layout.micro_batches * slowest
    waits, others = [], []
    for chip, units in zip(priced.chips, priced.units, strict=True):
        terms = whole_step(units, none, slowest, priced.model, layout, chip, priced.calibration)
        mean = (priced.layers * units.layer.total + units.head) / layout.pp
        wait = (layout.pp - 1) / layout.vp * mean
        waits.append(wait)
        with np.errstate(invalid="ignore"):
            others.append(terms.pipeline + terms.data + terms.optimizer + terms.overhead)
    total = busy + np.minimum.reduce(waits) + np.minimum.reduce(others)
    return np.where(np.isfinite(total), total * EDGE, np.inf)


def _slowest(priced: Priced) -> Floats:
    """Return for each layout the least seconds of its slowest stage, by halving, the layouts of equal pp together."""
    pp = priced.space.layouts.pp
    found = np.full(len(priced.space), np.inf)
    for stages in np.unique(pp):
        rows = np.flatnonzero(pp == stages)
        found[rows] = _least_slowest(priced, rows, int(stages))
    return found


def _least_slowest(priced: Priced, rows: np.ndarray[tuple[int], np.dtype[np.intp]], stages: int) -> Floats:
    """Halve between the mean stage's seconds and those of the stage that recomputes everything and holds all layers."""
    lines = _lines(priced, rows, stages)
    low = np.zeros(len(rows))
    high = np.full(len(rows), lines.most_s)
    fits = lines.held(high) >= priced.layers * EDGE
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = lines.held(middle) >= priced.layers
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(fits, low, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """Layers that each stage can hold within T seconds: the least of three straight lines in T. Shape (layouts, stages)."""

    fixed: Floats
    slope: Floats
    """Layers a second without recomputation."""
    again_start: Floats
    again_slope: Floats
    """With as much as memory asks for."""
    most: Floats
    """With everything recomputed."""
    most_s: Floats

    def held(self, seconds: Floats) -> Floats:
        """Return the layers that all stages hold together."""
        left = np.maximum(seconds[:, None] - self.fixed, 0.0)
        kept = np.minimum(left * self.slope, self.again_start + left * self.again_slope)
        return np.asarray(np.minimum(kept, self.most).clip(0).sum(axis=1))


def _lines(priced: Priced, rows: np.ndarray[tuple[int], np.dtype[np.intp]], stages: int) -> _Lines:
    layout, need = priced.space.layouts.taken(rows), priced.need
    one = {name: _taken(getattr(need, name), rows)[:, None] for name in Needs.__dataclass_fields__}
    at = np.arange(stages)
    ranks = layout.chips[0] / stages
    pool = np.repeat(np.arange(len(priced.chips)), [int(p.count / ranks) for p in priced.space.fleet.pools])
    layer = np.stack([_taken(units.layer.total, rows) for units in priced.units], axis=1)[:, pool]
    again = np.stack([_taken(units.layer.forward, rows) for units in priced.units], axis=1)[:, pool]
    head = np.where(at == stages - 1, _taken(priced.units[-1].head, rows)[:, None], 0.0)
    more = np.where(layout.vp > 1, (layout.pp - 1) / layout.vp, 0.0)[:, None]
    flight = np.minimum(stages - at[None, :] + more, layout.micro_batches[:, None])
    edge = (at == 0).astype(float) + (at == stages - 1) * (1.0 - (priced.model.tied.item() if stages == 1 else 0.0))
    capacity = np.array([chip.memory_bytes.item() for chip in priced.chips])[pool] / (1 + RESERVE)
    room = capacity[None, :] - one["ends"] * edge - np.where(at == stages - 1, one["logits"], 0.0) - one["buffers"]
    state = one["parameter"] + one["gradient"] + one["state"]
    full, least = state + flight * one["kept"], state + flight * one["boundary"]
    saved = np.maximum(flight * (one["kept"] - one["boundary"]), 1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(np.isfinite(layer), 1 / layer, 0.0)
        again_slope = np.where(np.isfinite(layer), 1 / (layer + again * full / saved), 0.0)
        again_start = np.where(np.isfinite(again), again * room / saved * again_slope, 0.0)
    most = np.maximum(room / least, 0.0)
    longest = float(np.where(np.isfinite(layer), layer + again, 0.0).max() * priced.layers + head[np.isfinite(head)].max(initial=0.0) + 1.0)
    return _Lines(fixed=head, slope=slope, again_start=again_start, again_slope=again_slope, most=most, most_s=np.array(longest))


def _layer_bytes(need: Needs, row: int) -> float:
    return _at(need.parameter, row) + _at(need.gradient, row) + _at(need.state, row)


def _at(values: Floats, row: int) -> float:
    return float(values[row] if values.size > 1 else values.reshape(-1)[0])


def _taken(values: Floats, rows: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Floats:
    return np.asarray(values[rows] if values.size > 1 else np.broadcast_to(values.reshape(-1), rows.shape))


def _row(units: Units, row: int) -> Units:
    layer = type(units.layer)(**{name: np.array([_at(getattr(units.layer, name), row)]) for name in type(units.layer).__dataclass_fields__})
    return Units(layer=layer, head=np.array([_at(units.head, row)]))
