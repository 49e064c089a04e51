"""Mark e-mail addresses, IP addresses and links in text (compiled). Only ASCII counts as part of a word: Chinese may touch them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headwater.core.kernels import compiled, compiled_entry

Points = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint8]

AT, DOT, COLON, SLASH, MINUS, PLUS, UNDERSCORE, PERCENT, OPEN, CLOSE, LESS, MORE = 64, 46, 58, 47, 45, 43, 95, 37, 40, 41, 60, 62
ENDS = "`!()[]{};:'\".,<>?«»“”‘’"
"""What a link does not end with."""
END_CODES = np.array([ord(character) for character in ENDS], dtype=np.uint32)


@compiled
def digit(code: int) -> bool:
    """Tell an ASCII digit."""
    return 48 <= code <= 57


@compiled
def small(code: int) -> bool:
    """Tell an ASCII lower-case letter."""
    return 97 <= code <= 122


@compiled
def letter(code: int) -> bool:
    """Tell an ASCII letter."""
    return 97 <= (code | 32) <= 122


@compiled
def local(code: int) -> bool:
    """Tell what may stand before the @ of an address."""
    return letter(code) or digit(code) or code in (DOT, MINUS, PLUS, UNDERSCORE)


@compiled
def host(code: int) -> bool:
    """Tell what may stand after the @ of an address."""
    return small(code) or digit(code) or code in (DOT, MINUS, PLUS, UNDERSCORE)


@compiled_entry
def mark_emails(points: Points, offsets: Offsets, marks: Marks) -> int:
    """Mark `name@host.tld`, as far left and right as it goes; return how many there are."""
    found = 0
    for document in range(len(offsets) - 1):
        begin, end = offsets[document], offsets[document + 1]
        free = begin
        for place in range(begin, end):
            if points[place] != AT or place < free:
                continue
            first = place
            while first > free and local(points[first - 1]):
                first -= 1
            after = place + 1
            while after < end and host(points[after]):
                after += 1
            last = after - 1
            while last > place + 1 and not (points[last - 1] == DOT and small(points[last]) and last - 1 > place + 1):
                last -= 1
            if first == place or last <= place + 1:
                continue
            while last < end and small(points[last]):
                last += 1
            marks[first:last] = 1
            free = last
            found += 1
    return found


@compiled
def octet(points: Points, place: int, end: int) -> int:
    """Return the length of the longest number of 0 to 255 without a leading zero that begins here, 0 where there is none."""
    if place >= end or not digit(points[place]):
        return 0
    value = points[place] - 48
    length = 1
    while length < 3 and place + length < end and digit(points[place + length]) and value > 0:
        value = value * 10 + points[place + length] - 48
        if value > 255:
            break
        length += 1
    return length


@compiled
def ipv4(points: Points, place: int, end: int) -> int:
    """Return where the IPv4 address that begins here ends, 0 where there is none."""
    for part in range(4):
        length = octet(points, place, end)
        if length == 0:
            return 0
        place += length
        if part < 3:
            if place >= end or points[place] != DOT:
                return 0
            place += 1
    return place


@compiled
def ipv6(points: Points, place: int, end: int) -> int:
    """Return where the full IPv6 address that begins here ends, 0 where there is none."""
    for part in range(8):
        length = 0
        while length < 4 and place < end and (digit(points[place]) or 97 <= (points[place] | 32) <= 102):
            place += 1
            length += 1
        if length == 0:
            return 0
        if part < 7:
            if place >= end or points[place] != COLON:
                return 0
            place += 1
    return place


@compiled_entry
def mark_ips(points: Points, offsets: Offsets, marks: Marks) -> int:
    """Mark IPv4 addresses and full IPv6 addresses; return how many there are."""
    found = 0
    for document in range(len(offsets) - 1):
        end = offsets[document + 1]
        place = offsets[document]
        while place < end:
            last = 0
            if digit(points[place]):
                last = ipv4(points, place, end)
            if last == 0 and (digit(points[place]) or 97 <= (points[place] | 32) <= 102):
                last = ipv6(points, place, end)
            if last:
                marks[place:last] = 1
                place = last
                found += 1
            else:
                place += 1
    return found


@compiled
def blank(code: int) -> bool:
    """Tell white space."""
    return code == 32 or 9 <= code <= 13 or code in (0x85, 0xA0, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000, 0x1680) or 0x2000 <= code <= 0x200A


@compiled
def foreign(code: int, loose: bool) -> bool:
    """Tell what ends a link, apart from white space and brackets."""
    return code > 126 and not loose


@compiled
def may_end(code: int) -> bool:
    """Tell whether a link may end with this."""
    for one in END_CODES:
        if code == one:
            return False
    return not blank(code)


@compiled
def bracketed(points: Points, place: int, end: int) -> int:
    """Return where the bracket that opens here closes, one bracket inside another at most, 0 where it does not."""
    depth = 0
    while place < end and not blank(points[place]) and points[place] not in (LESS, MORE):
        if points[place] == OPEN:
            depth += 1
            if depth > 2:
                return 0
        elif points[place] == CLOSE:
            depth -= 1
            if depth == 0:
                return place + 1
        place += 1
    return 0


@compiled
def link_end(points: Points, place: int, end: int, loose: bool) -> int:
    """Return where the link whose head ends here ends, 0 where nothing follows the head."""
    good = 0
    taken = 0
    while place < end:
        code = points[place]
        if code == OPEN:
            place = bracketed(points, place, end)
            if place == 0:
                break
            taken += 1
            good = place if taken > 1 else good
            continue
        if blank(code) or code in (CLOSE, LESS, MORE) or foreign(code, loose):
            break
        taken += 1
        place += 1
        if taken > 1 and may_end(code):
            good = place
    return good


@compiled_entry
def mark_links(points: Points, offsets: Offsets, marks: Marks, *, loose: bool) -> int:
    """Mark `scheme://…`, `www.…` and `host.tld/…`; return how many there are.

    `loose` also takes `word:x…`, where a letter, digit or % follows the colon, and goes on until white space; else ASCII alone belongs
    to a link.
    """
    found = 0
    for document in range(len(offsets) - 1):
        end = offsets[document + 1]
        place = free = offsets[document]
        while place < end:
            code = points[place]
            first = head = 0
            if code == COLON and place + 1 < end and (points[place + 1] == SLASH or loose):
                first, head = scheme(points, place, free, end, loose)
            elif code == DOT and place + 1 < end:
                first, head = site(points, place, free, end)
            last = link_end(points, head, end, loose) if head else 0
            if last:
                marks[first:last] = 1
                place = free = last
                found += 1
            else:
                place += 1
    return found


@compiled
def scheme(points: Points, place: int, free: int, end: int, loose: bool) -> tuple[int, int]:
    """Return where the scheme before this colon begins and the link's body begins, or zeros."""
    first = place
    while first > free and (letter(points[first - 1]) or digit(points[first - 1]) or points[first - 1] in (MINUS, UNDERSCORE)):
        first -= 1
    while first < place and not letter(points[first]):
        first += 1
    if place - first < 2:
        return 0, 0
    after = place + 1
    while after < end and after < place + 4 and points[after] == SLASH:
        after += 1
    if after == place + 1:
        code = points[after]
        if not (loose and (letter(code) or digit(code) or code == PERCENT)):
            return 0, 0
        after += 1
    return first, after


@compiled
def site(points: Points, place: int, free: int, end: int) -> tuple[int, int]:
    """Return where the host around this dot begins and its path begins, or zeros: `www.` needs no path, others do."""
    first = place
    while first > free and (letter(points[first - 1]) or digit(points[first - 1]) or points[first - 1] in (MINUS, DOT)):
        first -= 1
    while first < place and not (letter(points[first]) or digit(points[first])):
        first += 1
    if first == place:
        return 0, 0
    if place - first >= 3 and (points[first] | 32) == 119 and (points[first + 1] | 32) == 119 and (points[first + 2] | 32) == 119:
        digits = first + 3
        while digits < place and digit(points[digits]):
            digits += 1
        if digits == place:
            return first, place + 1
    after = place + 1
    while after < end and letter(points[after]):
        after += 1
    if 2 <= after - place - 1 <= 4 and after < end and points[after] == SLASH:
        return first, after + 1
    return 0, 0
