"""What a measure is given: the model as a function, its rows and answers, the sensitive groups, and a seed."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from headwater.core.tabular import Signature

if TYPE_CHECKING:
    import numpy.typing as npt

    from headwater.trust.measurement import Measurement, Text

    Rows = npt.NDArray[np.float32]
    Answers = npt.NDArray[np.float64]
    Places = npt.NDArray[np.int64]


class Subject(Protocol):
    """A model that can be asked: rows float32 [n, columns] in, probabilities float64 [n, classes] out."""

    def __call__(self, rows: Rows) -> Answers:
        """Return the probability of each class for each row."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """A declared sensitive attribute: each test row's group, or why it cannot be graded.

    `groups` names them; `member[i]` is the place of row i's group in it, -1 where the row's value is missing.
    """

    name: str
    title: Text
    groups: tuple[str, ...]
    member: Places
    not_gradable: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows of one part of a data set, float32 [n, columns], and the place of each row's true class."""

    rows: Rows
    labels: Places

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One model under examination. `train` and `train_answers` are None where the training rows are not known."""

    ask: Subject
    signature: Signature
    test: Part
    answers: Answers
    train: Part | None
    train_answers: Answers | None
    attributes: tuple[Attribute, ...]
    seed: int
    smallest_cell: int = 10
    """A rate over fewer rows than this is not measured."""
    level: float = 0.95

    @property
    def predicted(self) -> Places:
        """The place of the class that the model chooses for each test row (the first of equals)."""
        return np.asarray(np.argmax(self.answers, axis=1), dtype=np.int64)

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether the model is right, by test row."""
        return np.asarray(self.predicted == self.test.labels)

    @property
    def positive(self) -> int:
        """The place of the positive class."""
        return self.signature.classes.index(self.signature.positive)

    def draw(self, purpose: str) -> np.random.Generator:
        """Return a random generator for one purpose, the same in each run with this seed."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    def sample(self, purpose: str, largest: int) -> Places:
        """Return the places of at most `largest` test rows, in order: all of them, or a random choice."""
        if self.test.n <= largest:
            return np.arange(self.test.n)
        return np.sort(self.draw(purpose).choice(self.test.n, size=largest, replace=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A declared measure: its name `dimension.figure`, what people call it, and the function that takes it."""

    name: str
    title: Text
    summary: Text
    take: Callable[[Examination], tuple[Measurement, ...]]

    @property
    def dimension(self) -> str:
        """The dimension that it belongs to."""
        return self.name.partition(".")[0]


def measure(name: str, *, title: Text, summary: Text) -> Callable[[Callable[[Examination], tuple[Measurement, ...]]], Measure]:
    """Declare a measure; see any file under `dimensions/`."""

    def declare(take: Callable[[Examination], tuple[Measurement, ...]]) -> Measure:
        return Measure(name=name, title=title, summary=summary, take=take)

    return declare


def examine(
    *, ask: Subject, signature: Signature, test: Part, train: Part | None, attributes: tuple[Attribute, ...], seed: int
) -> Examination:
    """Return the examination of a model: it is asked once for each test and training row."""
    train_answers = None if train is None else ask(train.rows)
    return Examination(
        ask=ask,
        signature=signature,
        test=test,
        answers=ask(test.rows),
        train=train,
        train_answers=train_answers,
        attributes=attributes,
        seed=seed,
    )
