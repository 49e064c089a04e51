"""Words of a text (compiled): plain, by script; or Chinese, by jieba's algorithm over jieba's dictionary.

Jieba's algorithm (Sun Junyi, MIT): the most probable path through the dictionary words of a block, then Viterbi over
begin, middle, end, single for runs that the dictionary does not know. Here it works on arrays; its words are the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled, compiled_entry
from headwater.data.cleaning.characters import DIGIT, HAN, LETTER, SPACE, TABLED

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Masks = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

FIRST_HAN, LAST_HAN = 0x4E00, 0x9FD5
"""The Han letters that jieba treats as such."""
SEED, STEP = np.uint64(0x243F6A8885A308D3), np.uint64(0x9E3779B97F4A7C15)
TURN = np.uint64(29)
BEGIN, END, MIDDLE, SINGLE = 0, 1, 2, 3
"""States in the order of their letters: of equal paths jieba takes the later letter."""
NEVER = -3.14e100


class Dictionary(NamedTuple):
    """A hash table of words and their prefixes. A word's value is its log probability; a mere prefix has NaN."""

    keys: Hashes
    values: Floats
    bits: int
    unknown: float
    """The log probability of a character that is no word."""


class Hidden(NamedTuple):
    """The model of words that the dictionary does not know: log probabilities."""

    start: Floats
    step: Floats
    emit: Floats


class Found(NamedTuple):
    """Words being collected: where each begins and how long it is."""

    starts: Integers
    lengths: Integers


@compiled
def extended(hashed: np.uint64, code: np.uint32) -> np.uint64:
    """Return the hash of a text that is one code point longer."""
    mixed = (np.uint64(hashed) ^ np.uint64(code + 1)) * STEP
    return mixed ^ (mixed >> TURN)


@compiled
def slot_of(keys: Hashes, bits: int, hashed: np.uint64) -> np.int64:
    """Return the slot of a hash, or of the empty one where it would go."""
    mask = (1 << bits) - 1
    slot = np.int64(np.uint64(hashed) >> np.uint64(64 - bits))
    while keys[slot] != 0 and keys[slot] != hashed:
        slot = (slot + 1) & mask
    return slot


@compiled_entry
def fill_dictionary(data: npt.NDArray[np.uint8], keys: Hashes, values: Floats, bits: int) -> float:
    """Fill the table from the bytes of a dictionary file, `word times tag` a line; values are times, NaN for prefixes. Return their sum."""
    total, place = 0.0, 0
    while place < len(data):
        hashed, slot = SEED, np.int64(-1)
        while place < len(data) and data[place] != 32 and data[place] != 10:
            lead = np.int64(data[place])
            size = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            code = lead if size == 1 else lead & (0x7F >> size)
            for more in range(1, size):
                code = code << 6 | (data[place + more] & 0x3F)
            place += size
            hashed = extended(hashed, np.uint32(code))
            slot = slot_of(keys, bits, hashed)
            if keys[slot] == 0:
                keys[slot] = hashed
                values[slot] = np.nan
        times = 0.0
        place += 1
        while place < len(data) and 48 <= data[place] <= 57:
            times = times * 10 + (data[place] - 48)
            place += 1
        if slot >= 0 and times > 0:
            values[slot] = times
            total += times
        while place < len(data) and data[place] != 10:
            place += 1
        place += 1
    return total


@compiled
def han(code: int) -> bool:
    """Tell a Han letter of jieba's."""
    return FIRST_HAN <= code <= LAST_HAN


@compiled
def latin(code: int) -> bool:
    """Tell an ASCII letter or digit."""
    return 97 <= (code | 32) <= 122 or 48 <= code <= 57


@compiled
def in_block(code: int) -> bool:
    """Tell what jieba looks for words in."""
    return han(code) or latin(code) or code in (43, 35, 38, 46, 95, 37, 45)


@compiled
def put(found: Found, count: int, start: int, length: int) -> int:
    """Add a word and return the new count."""
    found.starts[count] = start
    found.lengths[count] = length
    return count + 1


@compiled
def cut_hidden(points: Points, begin: int, end: int, hidden: Hidden, back: npt.NDArray[np.int8], found: Found, count: int) -> int:
    """Cut a run of Han letters by Viterbi; return the new count."""
    before, now = np.empty(4), np.empty(4)
    for state in range(4):
        before[state] = hidden.start[state] + hidden.emit[state, points[begin] - FIRST_HAN]
    for place in range(begin + 1, end):
        for state in range(4):
            emitted = hidden.emit[state, points[place] - FIRST_HAN]
            one, other = (SINGLE, END) if state in (BEGIN, SINGLE) else (MIDDLE, BEGIN)
            first = before[one] + hidden.step[one, state] + emitted
            second = before[other] + hidden.step[other, state] + emitted
            back[4 * (place - begin) + state] = one if first >= second else other
            now[state] = max(first, second)
        before[:] = now
    state = SINGLE if before[SINGLE] >= before[END] else END
    for place in range(end - 1, begin - 1, -1):
        follows = back[4 * (place - begin) + state]
        back[4 * (place - begin)] = state
        state = follows
    start = following = begin
    for place in range(begin, end):
        state = back[4 * (place - begin)]
        if state == BEGIN:
            start = place
        elif state == END:
            count = put(found, count, start, place + 1 - start)
            following = place + 1
        elif state == SINGLE:
            count = put(found, count, place, 1)
            following = place + 1
    return put(found, count, following, end - following) if following < end else count


@compiled
def cut_unknown(points: Points, begin: int, end: int, hidden: Hidden, back: npt.NDArray[np.int8], found: Found, count: int) -> int:
    """Cut a run of single characters that is no word: Han by Viterbi, numbers and Latin words whole; return the new count."""
    place = begin
    while place < end:
        start = place
        if han(points[place]):
            while place < end and han(points[place]):
                place += 1
            count = cut_hidden(points, start, place, hidden, back, found, count)
        elif latin(points[place]):
            while place < end and latin(points[place]):
                place += 1
            after = place + 1
            while place < end and points[place] == 46 and after < end and 48 <= points[after] <= 57:
                after += 1
            place = after if after > place + 1 else place
            if place < end and points[place] == PERCENT:
                place += 1
            count = put(found, count, start, place - start)
        else:
            while place < end and not han(points[place]) and not latin(points[place]):
                place += 1
            count = put(found, count, start, place - start)
    return count


PERCENT = 37


@compiled
def best_path(points: Points, begin: int, end: int, words: Dictionary, score: Floats, step: Integers) -> None:
    """Fill, from the end, the best score of what begins at each place and how far its first word goes."""
    score[end - begin] = 0.0
    for place in range(end - 1, begin - 1, -1):
        best, longest = words.unknown + score[place + 1 - begin], 1
        hashed, known = SEED, False
        after = place
        while after < end:
            hashed = extended(hashed, points[after])
            slot = slot_of(words.keys, words.bits, hashed)
            if words.keys[slot] == 0:
                break
            after += 1
            value = words.values[slot]
            if value == value:
                value += score[after - begin]
                if not known or value >= best:
                    best, longest, known = value, after - place, True
        score[place - begin], step[place - begin] = best, longest


@compiled
def is_word(points: Points, begin: int, end: int, words: Dictionary) -> bool:
    """Tell whether a run is in the dictionary."""
    hashed = SEED
    for place in range(begin, end):
        hashed = extended(hashed, points[place])
    slot = slot_of(words.keys, words.bits, hashed)
    return bool(words.keys[slot] != 0 and words.values[slot] == words.values[slot])


@compiled
def flush(
    points: Points, begin: int, end: int, words: Dictionary, hidden: Hidden, back: npt.NDArray[np.int8], found: Found, count: int
) -> int:
    """Cut the run of single characters gathered so far; return the new count."""
    if end - begin > 1 and not is_word(points, begin, end, words):
        return cut_unknown(points, begin, end, hidden, back, found, count)
    for place in range(begin, end):
        count = put(found, count, place, 1)
    return count


@compiled_entry
def chinese_words(
    points: Points, offsets: Offsets, masks: Masks, words: Dictionary, hidden: Hidden, starts: Integers, lengths: Integers, ends: Integers
) -> None:
    """Fill where each word begins and its length; `ends[d + 1]` is the count of words up to the end of document d."""
    longest = 1
    for document in range(len(offsets) - 1):
        longest = max(longest, offsets[document + 1] - offsets[document])
    score, step = np.empty(longest + 1), np.empty(longest + 1, dtype=np.int64)
    back = np.empty(4 * longest, dtype=np.int8)
    found = Found(starts, lengths)
    count = 0
    for document in range(len(offsets) - 1):
        place, end = offsets[document], offsets[document + 1]
        while place < end:
            if not in_block(points[place]):
                if not (points[place] < TABLED and masks[points[place]] & SPACE):
                    count = put(found, count, place, 1)
                place += 1
                continue
            begin = place
            while place < end and in_block(points[place]):
                place += 1
            best_path(points, begin, place, words, score, step)
            at = run = begin
            while at < place:
                length = step[at - begin]
                if length > 1:
                    count = flush(points, run, at, words, hidden, back, found, count)
                    count = put(found, count, at, length)
                    run = at + length
                at += length
            count = flush(points, run, place, words, hidden, back, found, count)
        ends[document + 1] = count


@compiled_entry
def plain_words(points: Points, offsets: Offsets, masks: Masks, starts: Integers, lengths: Integers, ends: Integers) -> None:
    """Fill words as runs of letters and digits, each Han letter and each other visible character being one of its own."""
    count = 0
    for document in range(len(offsets) - 1):
        place, end = offsets[document], offsets[document + 1]
        while place < end:
            start = place
            mask = masks[points[place]] if points[place] < TABLED else LETTER | HAN
            place += 1
            if mask & SPACE:
                continue
            if mask & (LETTER | DIGIT) and not mask & HAN:
                while place < end and points[place] < TABLED:
                    more = masks[points[place]]
                    if more & HAN or not more & (LETTER | DIGIT):
                        break
                    place += 1
            starts[count], lengths[count] = start, place - start
            count += 1
        ends[document + 1] = count
