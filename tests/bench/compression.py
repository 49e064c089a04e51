"""Compression of a model that was really trained: every engine's candidates, the one chosen above a floor, and one refused below it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from headwater.core.errors import GateClosed
from headwater.framework.compression.compress import Measure, ParetoSet, compress
from headwater.framework.compression.engine import Given
from headwater.framework.program.frozen import freeze
from headwater.framework.training.course import Course
from headwater.framework.training.generated import sentences
from headwater.framework.training.tasks.language import Decoder, Language, Shape
from headwater.framework.training.trainer import train
from tests.bench._report import Figure, main

SHAPE = Shape(layers=3, width=512, heads=8, window=64)
MOST_LOST = 0.5
"""Points of accuracy."""


def trained() -> Language:
    """Return a text to learn: sentences, of which a tenth is held out."""
    with tempfile.TemporaryDirectory() as folder:
        sentences(Path(folder), 3000, seed=1)
        return Language((Path(folder) / "text.txt").read_bytes(), SHAPE, seed=0)


def measure() -> Sequence[Figure]:
    """Return every figure."""
    task = trained()
    course = Course(steps=150, batch=16, micro=16, learning_rate=0.002, warm_up_steps=15, evaluate_every=150, checkpoint_every=10**6)
    model = train(task, course).model
    assert isinstance(model, Decoder)
    windows = task.held_windows()
    inputs, wanted = windows[:, :-1].numpy(), windows[:, 1:].numpy()
    program = freeze(model, [windows[:2, :-1]], dynamic=[{0: ("n", 1, 256), 1: ("t", 2, 256)}])

    def accuracy(ask: Any) -> Measure:
        right = ask(inputs)[0].argmax(-1) == wanted
        return Measure(value=float(right.mean()), n=right.size)

    def eager(*arrays: Any) -> Any:
        with torch.inference_mode():
            return [model(torch.from_numpy(arrays[0])).numpy()]

    before = accuracy(eager)
    given = Given(program=program, calibration=[(inputs[place : place + 4],) for place in range(0, 32, 4)])
    with tempfile.TemporaryDirectory() as folder:
        floor = before.value - MOST_LOST / 100
        found = compress(given, accuracy, floor=floor, folder=Path(folder) / "small", aim="latency")
        return [*candidates(found), *chosen(found), refused(given, accuracy, floor, Path(folder))]


def candidates(found: ParetoSet) -> list[Figure]:
    """Return each candidate's figures."""
    for name, why in found.absent.items():
        print(f"{name}: {why}")
    told = [(one, f"{found.before_bytes / one.size_bytes:.2f}x smaller, accuracy {one.metric:.4f} {one.why_not}") for one in found.points]
    return [Figure(name=f"{one.engine} {one.setting}, faster", value=one.faster, unit="x", note=note) for one, note in told]


def chosen(found: ParetoSet) -> list[Figure]:
    """Return what the chosen candidate reaches; where several pass, the one that is best at both is looked at."""
    passing = [one for one in found.points if not one.why_not]
    best = max(passing, key=lambda one: min(one.faster / 2.5, found.before_bytes / one.size_bytes / 3.9))
    told = f"{best.engine} {best.setting}; chosen for latency: {found.chosen.engine} {found.chosen.setting}"
    lost = 100 * (found.before.value - best.metric)
    on = f"of {found.before.value:.4f} on {found.before.n} bytes"
    return [
        Figure(name="smaller", value=found.before_bytes / best.size_bytes, unit="x", at_least=3.9, note=told),
        Figure(name="faster at batch 1", value=best.faster, unit="x", at_least=2.5),
        Figure(name="points lost", value=lost, unit="points", at_most=MOST_LOST, note=on),
    ]


def refused(given: Given, accuracy: Any, floor: float, folder: Path) -> Figure:
    """Show that where no candidate keeps the floor, it is a refusal with the figures and nothing written: a student far too small."""
    small = Shape(layers=1, width=16, heads=2, window=SHAPE.window)
    poor = Given(program=given.program, calibration=given.calibration, students={"tiny": lambda: Decoder(small)})
    try:
        compress(poor, accuracy, floor=floor, folder=folder / "refused", engines=["distillation"], rounds=3)
    except GateClosed as error:
        print(f"refused: {error.what[:200]}")
        return Figure(name="refused below the floor, nothing written", value=float(not (folder / "refused").exists()), unit="", at_least=1)
    return Figure(name="refused below the floor, nothing written", value=0, unit="", at_least=1)


if __name__ == "__main__":
    main("compression", measure)
