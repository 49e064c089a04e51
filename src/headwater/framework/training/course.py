"""How a model is trained: a course of steps, and which examples each step sees. Pure, and knows no torch.

The examples of a step depend on the seed and the step alone, never on how many processes share them or where a run was resumed: so
a run that stops and goes on elsewhere, on more or fewer ranks, sees what it would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Precision = Literal["fp32", "bf16", "fp16"]
Layout = Literal["replicated", "sharded"]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A course of `steps` optimizer steps over `batch` examples each, of which a rank passes `micro` at a time."""

    steps: int
    batch: int
    micro: int
    learning_rate: float
    warm_up_steps: int = 0
    least_rate: float = 0.1
    """What the cosine ends at, as a share of the learning rate."""
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of the gradient; 0 clips nothing."""
    precision: Precision = "fp32"
    layout: Layout = "replicated"
    """Every rank holds the whole model, or a share of it (FSDP2)."""
    evaluate_every: int = 50
    checkpoint_every: int = 50
    checkpoint_every_s: float = float("inf")
    """Write one too when so many seconds have passed since the last."""
    seed: int = 0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step counted from 1: a linear rise, then a cosine down to the least (SGDR without restarts)."""
        if step <= self.warm_up_steps:
            return self.learning_rate * step / self.warm_up_steps
        done = (step - self.warm_up_steps) / max(self.steps - self.warm_up_steps, 1)
        least = self.learning_rate * self.least_rate
        return least + (self.learning_rate - least) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def examples_of(step: int, course: Course, count: int) -> Indices:
    """Return the indices of the examples of a step, counted from 1, out of `count`: epoch after epoch, each in an order of its own."""
    first = (step - 1) * course.batch
    places = np.arange(first, first + course.batch)
    epochs = places // count
    found = np.empty(course.batch, np.int64)
    for epoch in np.unique(epochs):
        inside = epochs == epoch
        found[inside] = order(int(epoch), count, course.seed)[places[inside] % count]
    return found


@lru_cache(maxsize=4)
def order(epoch: int, count: int, seed: int) -> Indices:
    """Return the order of the examples in an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def share(examples: Indices, rank: int, ranks: int) -> Indices:
    """Return a rank's examples of a step: shares differ by one at most, and may be empty."""
    edges = [len(examples) * one // ranks for one in (rank, rank + 1)]
    return examples[edges[0] : edges[1]]


def in_micros(examples: Indices, micro: int) -> Iterator[Indices]:
    """Return the examples in the portions in which they go through the model."""
    for first in range(0, len(examples), micro):
        yield examples[first : first + micro]
