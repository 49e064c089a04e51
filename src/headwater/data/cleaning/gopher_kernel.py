"""The Gopher rules (Rae et al. 2021, arXiv 2112.11446, table A1) over words and lines (compiled).

Each kernel stops at the first rule that a document breaks and says which, with the figure; -1 where it breaks none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled, compiled_entry
from headwater.data.cleaning.characters import LETTER, LINE_END, PUNCTUATION, SPACE, TABLED

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Masks = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

BASE, INVERSE = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xF1DE83E19937733D)
"""INVERSE * BASE = 1 modulo 2^64."""
MIX, TURN, ONE, NONE = np.uint64(0xD6E8FEB86659FD93), np.uint64(32), np.uint64(1), np.uint64(0)
LONGEST_STOP_WORD = 16
NEWLINE, HASH, DOT, ELLIPSIS, BULLET, DASH = 10, 35, 46, 0x2026, 0x2022, 45
TOP_FIRST, TOP_LAST, RUN_FIRST, RUN_LAST = 2, 4, 5, 10
TOP, RUNS = 4, 7
"""Where the limits of the most frequent n-gram and of repeated runs begin."""
STAMPS = 16
"""Stamps a document: 0 and 1 for its pieces, n for its runs of n words."""


class Seen(NamedTuple):
    """A hash table that is emptied by taking a new stamp."""

    keys: Hashes
    stamps: Integers
    times: Integers
    firsts: Integers


@compiled
def mixed(value: np.uint64) -> np.uint64:
    """Return a hash whose high bits depend on all bits."""
    value = np.uint64(value) * MIX
    return (value ^ (value >> TURN)) * MIX


@compiled
def slot_for(seen: Seen, bits: int, stamp: int, key: np.uint64) -> np.int64:
    """Return the slot of a key, or the free one where it goes."""
    mask = (1 << bits) - 1
    slot = np.int64(mixed(key) >> np.uint64(64 - bits))
    while seen.stamps[slot] == stamp and seen.keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@compiled
def bits_for(entries: int) -> int:
    """Return how large a table holds that many entries at half its room."""
    bits = 4
    while 1 << bits < 2 * entries:
        bits += 1
    return bits


@compiled
def repeated_pieces(points: Points, begin: int, end: int, gap: int, seen: Seen, stamp: int) -> tuple[int, int, int]:
    """Return the pieces between runs of at least `gap` newlines: how many, how many repeat an earlier one, and their code points."""
    bits = bits_for(min(end - begin + 2, len(seen.keys) // 2))
    pieces = repeats = characters = 0
    place = begin
    while True:
        key, start, stop = NONE, place, end
        while place < end:
            if points[place] == NEWLINE:
                after = place
                while after < end and points[after] == NEWLINE:
                    after += 1
                if after - place >= gap:
                    stop = place
                    place = after
                    break
                while place < after:
                    key = key * BASE + np.uint64(NEWLINE + 1)
                    place += 1
                continue
            key = key * BASE + np.uint64(points[place] + 1)
            place += 1
        pieces += 1
        slot = slot_for(seen, bits, stamp, key)
        if seen.stamps[slot] == stamp:
            repeats += 1
            characters += stop - start
        else:
            seen.stamps[slot], seen.keys[slot] = stamp, key
        if stop == end:
            return pieces, repeats, characters


@compiled
def top_gram(sums: Hashes, inverses: Hashes, before: Integers, words: int, n: int, seen: Seen, stamp: int) -> int:
    """Return the code points that the most frequent n-gram of words covers, one space between two words; of equals the first counts."""
    bits = bits_for(words)
    best, first = 0, words
    for place in range(words - n + 1):
        key = (sums[place + n] - sums[place]) * inverses[place]
        slot = slot_for(seen, bits, stamp, key)
        if seen.stamps[slot] != stamp:
            seen.stamps[slot], seen.keys[slot], seen.times[slot], seen.firsts[slot] = stamp, key, 0, place
        seen.times[slot] += 1
        if seen.times[slot] > best or (seen.times[slot] == best and seen.firsts[slot] < first):
            best, first = seen.times[slot], seen.firsts[slot]
    return int(best * (before[first + n] - before[first] + n - 1))


@compiled
def repeated_runs(sums: Hashes, inverses: Hashes, before: Integers, words: int, n: int, seen: Seen, stamp: int) -> int:
    """Return the code points of runs of n words that occurred before, runs not overlapping."""
    bits = bits_for(words)
    covered = place = 0
    while place < words - n + 1:
        key = (sums[place + n] - sums[place]) * inverses[place]
        slot = slot_for(seen, bits, stamp, key)
        if seen.stamps[slot] == stamp:
            covered += before[place + n] - before[place]
            place += n
        else:
            seen.stamps[slot], seen.keys[slot] = stamp, key
            place += 1
    return covered


class Sums(NamedTuple):
    """Sums over a document's words by which the hash of any run of words is one product: `(sums[j] - sums[i]) * inverses[i]`."""

    texts: Hashes
    """Of the words' code points one after the other: equal where the joined words are."""
    text_inverses: Hashes
    tuples: Hashes
    """Of the words: equal where each word is."""
    tuple_inverses: Hashes
    before: Integers
    """Code points before each word, spaces left out."""


@compiled
def fill_sums(points: Points, starts: Integers, lengths: Integers, first: int, words: int, sums: Sums) -> None:
    """Fill the sums of one document, whose words begin at `first`."""
    weight, inverse, tuple_weight, tuple_inverse = ONE, ONE, ONE, ONE
    sums.text_inverses[0] = sums.tuple_inverses[0] = ONE
    for word in range(words):
        at = first + word
        key, text = NONE, sums.texts[word]
        for place in range(starts[at], starts[at] + lengths[at]):
            value = np.uint64(points[place] + 1)
            key = key * BASE + value
            text += value * weight
            weight *= BASE
            inverse *= INVERSE
        sums.texts[word + 1], sums.text_inverses[word + 1] = text, inverse
        sums.tuples[word + 1] = sums.tuples[word] + mixed(key) * tuple_weight
        tuple_weight *= BASE
        tuple_inverse *= INVERSE
        sums.tuple_inverses[word + 1] = tuple_inverse
        sums.before[word + 1] = sums.before[word] + lengths[at]


@compiled
def broken_by_pieces(points: Points, begin: int, end: int, masks: Masks, limits: Floats, seen: Seen, stamp: int) -> tuple[int, float]:
    """Return the first rule on paragraphs and lines that a document breaks and its figure, or -1. Takes two stamps."""
    first, last = begin, end
    while first < last and points[first] < TABLED and masks[points[first]] & SPACE:
        first += 1
    while first < last and points[last - 1] < TABLED and masks[points[last - 1]] & SPACE:
        last -= 1
    for kind in range(2):
        if kind == 0:
            pieces, repeats, characters = repeated_pieces(points, first, last, 2, seen, stamp)
        else:
            pieces, repeats, characters = repeated_pieces(points, begin, end, 1, seen, stamp + 1)
        if repeats / pieces > limits[2 * kind]:
            return 2 * kind, repeats / pieces
        if characters / (end - begin) > limits[2 * kind + 1]:
            return 2 * kind + 1, characters / (end - begin)
    return -1, 0.0


@compiled
def broken_by_grams(sums: Sums, words: int, length: int, limits: Floats, seen: Seen, stamp: int) -> tuple[int, float]:
    """Return the first rule on runs of words that a document breaks and its figure, or -1. Takes nine stamps."""
    for n in range(TOP_FIRST, TOP_LAST + 1):
        if words < n:
            break
        share = top_gram(sums.tuples, sums.tuple_inverses, sums.before, words, n, seen, stamp + n) / length
        if share > limits[TOP + n - TOP_FIRST]:
            return TOP + n - TOP_FIRST, share
    for n in range(RUN_FIRST, RUN_LAST + 1):
        share = repeated_runs(sums.texts, sums.text_inverses, sums.before, words, n, seen, stamp + n) / length
        if share > limits[RUNS + n - RUN_FIRST]:
            return RUNS + n - RUN_FIRST, share
    return -1, 0.0


@compiled_entry
def gopher_repetition(
    points: Points,
    offsets: Offsets,
    masks: Masks,
    starts: Integers,
    lengths: Integers,
    ends: Integers,
    limits: Floats,
    broken: Integers,
    figure: Floats,
) -> None:
    """Fill the first rule that each document breaks.

    `limits`: repeated paragraphs, their characters, repeated lines, their characters, the top 2-, 3- and 4-gram, repeated runs of
    5 to 10 words; all shares of the text, the first and third of the pieces. The text's ends are not counted as paragraphs.
    """
    largest = most = 1
    for document in range(len(offsets) - 1):
        largest = max(largest, offsets[document + 1] - offsets[document])
        most = max(most, ends[document + 1] - ends[document])
    size = 1 << bits_for(largest + 2)
    seen = Seen(np.zeros(size, np.uint64), np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64))
    room = most + 1
    sums = Sums(
        np.zeros(room, np.uint64), np.zeros(room, np.uint64), np.zeros(room, np.uint64), np.zeros(room, np.uint64), np.zeros(room, np.int64)
    )
    for document in range(len(offsets) - 1):
        begin, end, words = offsets[document], offsets[document + 1], ends[document + 1] - ends[document]
        broken[document], figure[document] = -1, 0.0
        if end == begin:
            continue
        stamp = STAMPS * (document + 1)
        broken[document], figure[document] = broken_by_pieces(points, begin, end, masks, limits, seen, stamp)
        if broken[document] < 0:
            fill_sums(points, starts, lengths, ends[document], words, sums)
            broken[document], figure[document] = broken_by_grams(sums, words, end - begin, limits, seen, stamp)


@compiled
def line_shares(points: Points, begin: int, end: int, masks: Masks) -> tuple[float, float]:
    """Return the shares of lines that begin with a bullet or dash and of lines that end with an ellipsis."""
    lines = bullets = ellipses = 0
    place = begin
    while place < end:
        start = place
        while place < end and not (points[place] < TABLED and masks[points[place]] & LINE_END):
            place += 1
        first, last = start, place
        while first < last and points[first] < TABLED and masks[points[first]] & SPACE:
            first += 1
        while first < last and points[last - 1] < TABLED and masks[points[last - 1]] & SPACE:
            last -= 1
        lines += 1
        if first < last:
            bullets += points[first] == BULLET or points[first] == DASH
            dots = last - first >= 3 and points[last - 1] == DOT and points[last - 2] == DOT and points[last - 3] == DOT
            ellipses += points[last - 1] == ELLIPSIS or dots
        if place + 1 < end and points[place] == 13 and points[place + 1] == NEWLINE:
            place += 1
        place += 1
    return (bullets / lines, ellipses / lines) if lines else (0.0, 0.0)


@compiled
def symbol_counts(points: Points, begin: int, end: int) -> tuple[int, int]:
    """Return how often # and an ellipsis stand in a text."""
    hashes = ellipses = dots = 0
    for place in range(begin, end):
        code = points[place]
        hashes += code == HASH
        ellipses += code == ELLIPSIS
        dots = dots + 1 if code == DOT else 0
        if dots == 3:
            ellipses += 1
            dots = 0
    return hashes, ellipses


@compiled_entry
def word_hashes(points: Points, starts: Integers, lengths: Integers, hashes: Hashes) -> None:
    """Fill the hash of each word."""
    for word in range(len(starts)):
        key = NONE
        for place in range(starts[word], starts[word] + lengths[word]):
            key = key * BASE + np.uint64(points[place] + 1)
        hashes[word] = mixed(key)


@compiled
def word_counts(
    points: Points, masks: Masks, starts: Integers, lengths: Integers, first: int, last: int, stop_words: Hashes, met: Integers, mark: int
) -> tuple[int, int, int, int]:
    """Return how many words are not only symbols, their code points, how many hold a letter, and how many distinct stop words there are."""
    real = real_length = lettered = stopped = 0
    for at in range(first, last):
        symbol, with_letter, key = True, False, NONE
        for place in range(starts[at], starts[at] + lengths[at]):
            code = points[place]
            mask = masks[code] if code < TABLED else LETTER
            symbol = symbol and mask & PUNCTUATION != 0
            with_letter = with_letter or mask & LETTER != 0
            key = key * BASE + np.uint64(code + 1)
        lettered += with_letter
        if not symbol:
            real += 1
            real_length += lengths[at]
        if lengths[at] <= LONGEST_STOP_WORD and stopped < len(stop_words):
            key = mixed(key)
            for one in range(len(stop_words)):
                if stop_words[one] == key and met[one] != mark:
                    met[one] = mark
                    stopped += 1
    return real, real_length, lettered, stopped


@compiled
def first_broken(values: Floats, least: Floats, most: Floats) -> int:
    """Return the first value that lies outside its bounds, or -1."""
    for rule in range(len(values)):
        if values[rule] < least[rule] or values[rule] > most[rule]:
            return rule
    return -1


@compiled_entry
def gopher_quality(
    points: Points,
    offsets: Offsets,
    masks: Masks,
    starts: Integers,
    lengths: Integers,
    ends: Integers,
    stop_words: Hashes,
    least: Floats,
    most: Floats,
    broken: Integers,
    figure: Floats,
) -> None:
    """Fill the first rule that each document breaks, each a figure between `least` and `most`.

    The figures: words that are not only symbols; their mean length; # per word; ellipses per word; lines that begin with a bullet;
    lines that end with an ellipsis; words with a letter; distinct stop words.
    """
    values = np.zeros(8)
    met = np.zeros(len(stop_words), dtype=np.int64)
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        words = ends[document + 1] - ends[document]
        real, real_length, lettered, stopped = word_counts(
            points, masks, starts, lengths, ends[document], ends[document + 1], stop_words, met, document + 1
        )
        hashes, ellipses = symbol_counts(points, begin, end)
        values[0], values[1] = real, real_length / real if real else 0.0
        values[2], values[3] = (hashes / words, ellipses / words) if words else (0.0, 0.0)
        values[4], values[5] = line_shares(points, begin, end, masks)
        values[6], values[7] = lettered / words if words else 0.0, stopped
        broken[document] = first_broken(values, least, most)
        figure[document] = values[broken[document]] if broken[document] >= 0 else 0.0
