"""Texts on their way through the stages: code points in one array, and who has been removed so far and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.data.cleaning import counts_kernel
from headwater.data.cleaning.characters import table
from headwater.data.cleaning.words import Tokeniser, Words, find_words

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Texts(NamedTuple):
    """Texts as code points: text i is `points[offsets[i]:offsets[i + 1]]`."""

    points: Points
    offsets: Offsets

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Return texts as code points. No text may hold a lone surrogate."""
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in texts], out=offsets[1:])
        return cls(np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32), offsets)

    def lengths(self) -> npt.NDArray[np.int64]:
        """Return each text's length in code points."""
        return np.diff(self.offsets)

    def strings(self) -> list[str]:
        """Return the texts as strings."""
        whole = self.points.tobytes().decode("utf-32-le")
        places = self.offsets.tolist()
        return [whole[begin:end] for begin, end in pairwise(places)]

    def chosen(self, places: npt.NDArray[np.int64]) -> Texts:
        """Return some of the texts."""
        return Texts(*counts_kernel.gather(self.points, self.offsets, places))


class Rule(NamedTuple):
    """One rule of a stage: its name, and the least and the most that is allowed."""

    name: str
    least: float | None = None
    most: float | None = None


class Removal(NamedTuple):
    """Why a document is removed: the stage, the rule that it breaks, its figure, and the figure that was allowed."""

    stage: str
    rule: str
    figure: float | None
    limit: float | None

    @property
    def code(self) -> str:
        """The reason code, such as `length.short`."""
        return f"{self.stage}.{self.rule}"


@dataclass(slots=True)
class Batch:
    """Documents that are still in. `places` says which of the chunk's documents each is; a document has one or several fields."""

    fields: Texts
    """Field f of document d is text `d * width + f`."""
    width: int
    places: npt.NDArray[np.int64]
    removed: dict[int, Removal] = field(default_factory=dict)
    _joined: Texts | None = None
    _counts: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None
    _words: dict[Tokeniser, Words] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def texts(self) -> Texts:
        """The documents' texts; several fields are joined by a newline."""
        if self.width == 1:
            return self.fields
        if self._joined is None:
            strings = self.fields.strings()
            rows = range(0, len(strings), self.width)
            self._joined = Texts.of(["\n".join(strings[row : row + self.width]) for row in rows])
        return self._joined

    def counts(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return, per document, how many code points have each bit of `characters`, and how many are letters or digits."""
        if self._counts is None:
            texts = self.texts
            counts = np.zeros((len(self), counts_kernel.BITS), dtype=np.int64)
            alnum = np.zeros(len(self), dtype=np.int64)
            counts_kernel.count_classes(texts.points, texts.offsets, table(), counts, alnum)
            self._counts = counts, alnum
        return self._counts

    def words(self, tokeniser: Tokeniser) -> Words:
        """Return the documents' words."""
        if tokeniser not in self._words:
            self._words[tokeniser] = find_words(self.texts.points, self.texts.offsets, tokeniser)
        return self._words[tokeniser]

    def edit(self, fields: Texts) -> int:
        """Take edited texts; return how many documents changed."""
        before, after = self.fields, fields
        same = before.lengths() == after.lengths()
        if len(before.points) == len(after.points) and same.all():
            unequal = before.points != after.points
            changed = np.add.reduceat(np.append(unequal, False), before.offsets[:-1]) > 0 if len(same) else unequal[:0]
            changed &= before.lengths() > 0
        else:
            changed = ~same
            for one in np.flatnonzero(same):
                begin, end, other = before.offsets[one], before.offsets[one + 1], after.offsets[one]
                changed[one] = not np.array_equal(before.points[begin:end], after.points[other : other + end - begin])
        self.fields = fields
        self._forget()
        return int(changed.reshape(-1, self.width).any(axis=1).sum())

    def remove(self, stage: str, rules: Sequence[Rule], broken: npt.NDArray[np.int64], figures: Floats) -> None:
        """Take out the documents that break a rule: `broken` is the rule's place, -1 for none."""
        out = np.flatnonzero(broken >= 0)
        if not len(out):
            return
        for one in out.tolist():
            rule, figure = rules[int(broken[one])], float(figures[one])
            limit = rule.least if rule.least is not None and figure < rule.least else rule.most
            self.removed[int(self.places[one])] = Removal(stage, rule.name, figure, limit)
        self._keep(np.flatnonzero(broken < 0))

    def _keep(self, stay: npt.NDArray[np.int64]) -> None:
        counts, joined, words, before = self._counts, self._joined, dict(self._words), self.texts.offsets
        chosen = (stay[:, None] * self.width + np.arange(self.width)).ravel()
        self._forget()
        self.fields = self.fields.chosen(chosen)
        self.places = self.places[stay]
        self._joined = joined.chosen(stay) if joined is not None else None
        self._counts = (counts[0][stay], counts[1][stay]) if counts is not None else None
        self._words.update({name: found.chosen(stay, before, self.texts.offsets) for name, found in words.items()})

    def _forget(self) -> None:
        self._joined, self._counts = None, None
        self._words.clear()
