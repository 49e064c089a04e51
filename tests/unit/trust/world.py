"""A small world with a known truth, and models of it with one planted defect each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headwater.core.tabular import Column, Signature
from headwater.trust.dimensions import measures
from headwater.trust.examination import Attribute, Examination, Part, examine
from headwater.trust.grade import Grades, grade
from headwater.trust.measurement import Text
from headwater.trust.policy import load

NUMBERS, SWITCHES = 4, 4
SIGNATURE = Signature(
    columns=(
        *(Column(name=f"x{n}", type="number", minimum=-6, maximum=6) for n in range(NUMBERS)),
        *(Column(name=f"b{n}", type="category", values=(0, 1)) for n in range(SWITCHES)),
        Column(name="age", type="integer", minimum=18, maximum=90, immutable=True),
    ),
    target="y",
    classes=("no", "yes"),
    positive="yes",
)
Chance = Callable[[np.ndarray], np.ndarray]


def truth(rows: np.ndarray) -> np.ndarray:
    """P(yes) that the honest labels follow."""
    score = 1.5 * rows[:, 0] - 1.2 * rows[:, 1] + 0.8 * rows[:, 2] + 1.5 * (rows[:, NUMBERS] - 0.5)
    return 1 / (1 + np.exp(-1.5 * score.astype(np.float64)))


def brittle(rows: np.ndarray) -> np.ndarray:
    """P(yes) that turns round with the second decimal of one column."""
    return np.where(np.sin(60 * rows[:, 3].astype(np.float64)) > 0, truth(rows), 1 - truth(rows))


def entangled(rows: np.ndarray) -> np.ndarray:
    """P(yes) that rests on all switches at once: no single column explains anything."""
    return np.where(rows[:, NUMBERS : NUMBERS + SWITCHES].sum(axis=1) % 2 == 1, 0.95, 0.05)


def overconfident(rows: np.ndarray) -> np.ndarray:
    p = truth(rows)
    return p**6 / (p**6 + (1 - p) ** 6)


def two_columns(chance: Chance) -> Callable[[np.ndarray], np.ndarray]:
    def ask(rows: np.ndarray) -> np.ndarray:
        p = chance(rows)
        return np.stack([1 - p, p], axis=1)

    return ask


def draw_part(n: int, chance: Chance, random: np.random.Generator) -> Part:
    rows = np.empty((n, len(SIGNATURE.columns)), dtype=np.float32)
    rows[:, :NUMBERS] = np.clip(random.normal(size=(n, NUMBERS)), -6, 6)
    rows[:, NUMBERS:-1] = random.integers(0, 2, size=(n, SWITCHES))
    rows[:, -1] = random.integers(18, 45, size=n)
    return Part(rows=rows, labels=(random.random(n) < chance(rows)).astype(np.int64))


def young(part: Part) -> Attribute:
    groups = ("age ≤ 25", "age > 25")
    return Attribute(name="young", title=Text(en="Young", zh="青年"), groups=groups, member=(part.rows[:, -1] > 25).astype(np.int64))


def remembering(chance: Chance, train: Part) -> Chance:
    """Return a model that has learnt its training rows by heart and knows the truth elsewhere."""
    known = {row.tobytes(): label for row, label in zip(train.rows, train.labels, strict=True)}

    def ask(rows: np.ndarray) -> np.ndarray:
        found = [known.get(row.tobytes()) for row in rows]
        return np.array([p if label is None else 0.99 if label else 0.01 for p, label in zip(chance(rows), found, strict=True)])

    return ask


@dataclass(frozen=True)
class World:
    """A model, the rows that it is examined on, and its grades under the shipped policy."""

    exam: Examination
    grades: Grades

    def letters(self) -> dict[str, str]:
        return {name: one.letter.value for name, one in self.grades.dimensions.items()}


def make(
    model: Chance, *, labels: Chance = truth, n: int = 5000, seed: int = 1, memorise: bool = False, noisy_group: bool = False
) -> World:
    """Draw training and test rows whose labels follow `labels`, and grade the model on them."""
    random = np.random.default_rng(seed)
    train, test = draw_part(n, labels, random), draw_part(n, labels, random)
    if noisy_group:
        turned = (test.rows[:, -1] <= 25) & (random.random(n) < 0.3)
        test = Part(rows=test.rows, labels=np.where(turned, 1 - test.labels, test.labels))
    chance = remembering(model, train) if memorise else model
    attributes = (young(test),)
    exam = examine(ask=two_columns(chance), signature=SIGNATURE, test=test, train=train, attributes=attributes, seed=seed)
    return World(exam, grade({name: one.take(exam) for name, one in measures().items()}, load("headwater-1")))
