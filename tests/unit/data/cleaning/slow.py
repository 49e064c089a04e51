"""Slow and obvious versions of what the kernels do, as the rules are written."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from headwater.data.cleaning.batch import Texts
from headwater.data.cleaning.words import Tokeniser, find_words


def words_of(text: str, tokeniser: Tokeniser) -> list[str]:
    """Return the words of one text."""
    texts = Texts.of([text])
    found = find_words(texts.points, texts.offsets, tokeniser)
    return [text[start : start + length] for start, length in zip(found.starts.tolist(), found.lengths.tolist(), strict=True)]


def character_repetition(text: str, n: int) -> float:
    """Return the share of the most frequent n-grams."""
    grams = Counter(text[place : place + n] for place in range(len(text) - n + 1))
    if not grams:
        return 0.0
    times = sorted(grams.values(), reverse=True)
    repeated = sum(count > 1 for count in times)
    return sum(times[: min(math.isqrt(len(times)), repeated)]) / sum(times)


def gopher_repetition(text: str, words: Sequence[str], limits: Sequence[float]) -> int:
    """Return the first rule that a text breaks, or -1."""
    if not text:
        return -1
    for kind, pieces in enumerate((re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text))):
        repeats = [piece for place, piece in enumerate(pieces) if piece in pieces[:place]]
        if len(repeats) / len(pieces) > limits[2 * kind]:
            return 2 * kind
        if sum(map(len, repeats)) / len(text) > limits[2 * kind + 1]:
            return 2 * kind + 1
    for n in (2, 3, 4):
        grams = Counter(" ".join(words[place : place + n]) for place in range(len(words) - n + 1))
        if grams:
            top, times = grams.most_common(1)[0]
            if len(top) * times / len(text) > limits[2 + n]:
                return 2 + n
    for n in range(5, 11):
        seen: set[str] = set()
        covered = place = 0
        while place < len(words) - n + 1:
            gram = "".join(words[place : place + n])
            covered += len(gram) if gram in seen else 0
            place += n if gram in seen else 1
            seen.add(gram)
        if covered / len(text) > limits[2 + n]:
            return 2 + n
    return -1


def shingles(text: str) -> set[str]:
    """Return a text's shingles."""
    lowered = text.lower() + "\0" * max(0, 5 - len(text))
    return {lowered[place : place + 5] for place in range(len(lowered) - 4)}


def jaccard(one: str, other: str) -> float:
    """Return the similarity of two texts."""
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)
