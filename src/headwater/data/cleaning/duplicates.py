"""Which records go because another says the same: exact duplicates by digest, near ones by exact Jaccard over proposed pairs.

The decision depends on the records alone, not on their order or on who worked on them: see `ranked`. What is in memory is a few
columns over all records, read part by part from the work folder; bands are taken one at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.data.cleaning import jaccard_kernel
from headwater.data.cleaning.characters import lower
from headwater.data.cleaning.stages import NearDuplicates

Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Text = Callable[[int], bytes]

STAYS = -1
CACHED_POINTS = 8 << 20


def quiet(share: float) -> None:
    """Say nothing of progress."""


class Shingles(NamedTuple):
    """A text's set of shingles."""

    points: npt.NDArray[np.uint32]
    table: Integers
    distinct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """Per record: the record for which it goes, or STAYS; and how similar they are."""

    partner: Integers
    similarity: npt.NDArray[np.float64]
    compared: int = 0
    """Pairs that were decided exactly."""


class Found(NamedTuple):
    """Two records and their exact similarity."""

    first: int
    second: int
    jaccard: float


def exact(hashes: Hashes, digests: Hashes) -> Verdicts:
    """Return, for records with the same hash, all but the one with the lowest digest as its duplicates. Columns are [records, 2]."""
    count = len(hashes)
    partner, similarity = np.full(count, STAYS), np.zeros(count)
    order = np.lexsort((digests[:, 1], digests[:, 0], hashes[:, 1], hashes[:, 0]))
    sorted_hashes = hashes[order]
    new = np.ones(count, dtype=bool)
    new[1:] = (sorted_hashes[1:] != sorted_hashes[:-1]).any(axis=1)
    leader = order[np.flatnonzero(new)[np.cumsum(new) - 1]] if count else order
    partner[order[~new]] = leader[~new]
    similarity[order[~new]] = 1.0
    return Verdicts(partner=partner, similarity=similarity)


def ranked(lengths: Integers, digests: Hashes, prefer: str) -> Integers:
    """Return each record's rank, 0 being the preferred: by length, then by the lowest digest."""
    length = -lengths if prefer == "longest" else lengths
    order = np.lexsort((digests[:, 1], digests[:, 0], length))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank


class Buckets:
    """The records that share a band with another: for each, those of a higher rank."""

    def __init__(self, bands: Iterator[Hashes], rank: Integers, alive: npt.NDArray[np.bool_]) -> None:
        """Take the bands one by one, each with a key per record."""
        living = np.flatnonzero(alive)
        living = living[np.argsort(rank[living], kind="stable")]
        members: list[Integers] = []
        sizes: list[Integers] = []
        for keys in bands:
            own = keys[living]
            order = np.argsort(own, kind="stable")
            edges = np.flatnonzero(np.diff(own[order], prepend=~own[order[:1]], append=~own[order[-1:]])) if len(own) else order
            lengths = np.diff(edges)
            shared = lengths > 1
            members.append(living[order[np.repeat(shared, lengths)]])
            sizes.append(lengths[shared])
        self.members = np.concatenate(members) if members else np.zeros(0, dtype=np.int64)
        ends = np.cumsum(np.concatenate(sizes)) if sizes else np.zeros(0, dtype=np.int64)
        self._end_of = np.repeat(ends, np.concatenate(sizes)) if sizes else ends
        self._places = np.argsort(self.members, kind="stable")
        self.records, self._starts = np.unique(self.members[self._places], return_index=True)
        self._stops = np.append(self._starts[1:], len(self._places))
        self.in_order = np.argsort(rank[self.records], kind="stable")

    def above(self, which: int) -> Integers:
        """Return the records of a higher rank that share a bucket with `records[which]`, each once."""
        places = self._places[self._starts[which] : self._stops[which]]
        above = [self.members[place + 1 : self._end_of[place]] for place in places.tolist()]
        return np.unique(np.concatenate(above)) if above else self.members[:0]


class Judge:
    """Decides pairs of texts exactly, remembering the sets of those it met last."""

    def __init__(self, text: Text, threshold: float) -> None:
        self._text = text
        self._threshold = threshold
        self._known: OrderedDict[int, Shingles] = OrderedDict()
        self._held = 0
        self.compared = 0

    def alike(self, first: int, second: int) -> float | None:
        """Return the exact similarity of two records' texts, or None where it is below the threshold."""
        one, other = self._set(first), self._set(second)
        self.compared += 1
        smaller, larger = (one, other) if one.distinct <= other.distinct else (other, one)
        both = one.distinct + other.distinct
        # shared / (both - shared) >= threshold is shared >= both * threshold / (1 + threshold); one more is left to rounding
        missing = smaller.distinct - int(both * self._threshold / (1 + self._threshold)) + 1
        if missing < 0:
            return None
        shared = jaccard_kernel.common(smaller.points, smaller.table, larger.points, larger.table, missing)
        similarity = shared / (both - shared)
        return float(similarity) if shared >= 0 and similarity >= self._threshold else None

    def _set(self, record: int) -> Shingles:
        if record in self._known:
            self._known.move_to_end(record)
            return self._known[record]
        points = jaccard_kernel.shingled(np.frombuffer(self._text(record), dtype=np.uint8), lower())
        made = Shingles(points, *jaccard_kernel.shingle_set(points))
        self._known[record] = made
        self._held += len(points)
        while self._held > CACHED_POINTS and len(self._known) > 2:
            self._held -= len(self._known.popitem(last=False)[1].points)
        return made


def near(stage: NearDuplicates, buckets: Buckets, text: Text, count: int, progress: Callable[[float], None] = quiet) -> Verdicts:
    """Return the records that are as similar as the stage says to one of a lower rank that stays."""
    partner, similarity = np.full(count, STAYS), np.zeros(count)
    judge = Judge(text, stage.jaccard)
    for step, which in enumerate(buckets.in_order.tolist()):
        record = int(buckets.records[which])
        if partner[record] != STAYS:
            continue
        above = buckets.above(which)
        for other in above[partner[above] == STAYS].tolist():
            if (found := judge.alike(record, other)) is not None:
                partner[other], similarity[other] = record, found
        progress(step / len(buckets.in_order))
    return Verdicts(partner=partner, similarity=similarity, compared=judge.compared)


def pairs(stage: NearDuplicates, buckets: Buckets, text: Text) -> Iterator[Found]:
    """Give every proposed pair that is as similar as the stage says."""
    judge = Judge(text, stage.jaccard)
    for which in buckets.in_order.tolist():
        record = int(buckets.records[which])
        for other in buckets.above(which).tolist():
            if (found := judge.alike(record, other)) is not None:
                yield Found(record, other, found)


def columns(texts: Sequence[Any]) -> Hashes:
    """Return 16-byte values as two numbers each."""
    return np.frombuffer(b"".join(texts), dtype=">u8").astype(np.uint64).reshape(-1, 2)
