"""Chinese addresses: province, city, district, road or estate, number, and what lies within it (building, unit, room).

A finding needs a number in a road, lane, village or estate. It begins at the first province or city of the
chain before it, or else behind the word that announces it, or at a boundary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from headwater.data.privacy.recogniser import Anchor, Evidence, Label, Recogniser, Span
from headwater.data.privacy.words import words

LONGEST_CHAIN = 48
MOST_CUES = 4
"""Behind how many words that announce an address one is tried, the farthest first."""
HAN = "[\u4e00-\u9fff]"
NUMERAL = "(?:[甲乙丙丁]?[0-9]{1,5}[甲乙丙丁]?(?:[-—－之][0-9]{1,4})?|[一二三四五六七八九十百]{1,5})"
PART = "(?:号楼|号院|栋|幢|座|单元|室|层|楼(?![道梯下上])|户|房间?|门|区(?!别)|号(?![码线]))"
WITHIN = rf"(?:[A-Za-z0-9一二三四五六七八九十]{{1,5}}(?:[-—－][A-Za-z0-9]{{1,4}})*{PART})"
ESTATE = "(?:大厦|广场|大楼|商厦|中心|公寓|花园|小区|家园|新村|酒店|宿舍|写字楼|科技园|产业园|国际)"
DETAIL = re.compile(
    r"(?:院|大院|楼(?=[0-9一二三四五六七八九十]|[，。；、）)\s]|\Z))?" + rf"(?:[ ]?{HAN}{{2,8}}?{ESTATE})?(?:[ ]?{WITHIN})*"
)
KIND = "(?:大道|大街|胡同|公路|路|街|道|巷|弄|里|村|庄|屯|寨|苑|花园|小区|家园|新村|园|城|镇|乡)"
STRETCH = "[东南西北中]{0,2}(?:路|街|[一二三四五六七八九十0-9]{1,3}[段巷弄期区]|[上中下]?段|辅路|延长线)?"
NUMBERED = rf"(?:{NUMERAL}(?:弄|巷|号院|里|组))?{NUMERAL}(?:号|栋|幢|座|室|组)(?![令文码线])"
ROAD = re.compile(rf"{HAN}{{1,9}}?{KIND}{STRETCH}{NUMBERED}")
PROVINCE = rf"(?:{HAN}{{2,3}}(?:省|自治区)|{HAN}{{2,5}}自治区)?"
CITY = rf"(?:{HAN}{{2,5}}?(?:市|自治州|地区|盟))?"
DISTRICT = rf"(?:{HAN}{{1,6}}?(?:新区|开发区|自治县|区|县|旗|市))?"
TOWNSHIP = rf"(?:{HAN}{{1,5}}?(?:街道|镇|乡|苏木))?"
ADMIN = re.compile(PROVINCE + CITY + DISTRICT + TOWNSHIP)
DISTRICT_NEXT = re.compile(rf"{HAN}{{1,4}}[区县]")
NUMBERED_BEFORE = re.compile("[0-9](?:号(?!院)|栋|幢|座|室|组)")
CHAIN = re.compile(r"[\u4e00-\u9fff0-9A-Za-z\-—－]+\Z")


def look(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the address whose first numbered unit ends here."""
    chain = CHAIN.search(text, max(0, start - LONGEST_CHAIN), end)
    if chain is None:
        return
    begin = max((unit.end() for unit in NUMBERED_BEFORE.finditer(text, chain.start(), start)), default=chain.start())
    for first, sure in _starts(text, begin, end):
        admin = ADMIN.match(text, first, end)
        from_road = admin.end() if admin else first
        if not (ROAD.fullmatch(text, from_road, end) or ROAD.fullmatch(text, first, end)):
            continue
        detail = DETAIL.match(text, end)
        last = detail.end() if detail else end
        yield Span(
            start=first,
            end=last,
            label=Label.ADDRESS,
            score=0.9 if sure else 0.7,
            rule="address_zh",
            evidence=Evidence.CONTEXT,
        )
        return


def _starts(text: str, first: int, end: int) -> Iterator[tuple[int, bool]]:
    """Yield where the address may begin, the best first: at a province or city, behind a cue, at the chain's own beginning."""
    chain = text[first:end]
    named = [first + place for place in range(len(chain) - 4) if _place_at(chain, place)]
    if named:
        yield named[0], True
        yield from ((place, True) for place in named[1:3])
    cued = [first + place for place in range(len(chain), 0, -1) if _cue_before(chain, place)]
    yield from ((place, False) for place in cued[-MOST_CUES:][::-1])
    yield first, False


def _place_at(chain: str, place: int) -> bool:
    """Tell whether a province or city begins here: a city of two characters only with its ending or a district behind it."""
    for size in (2, 3, 4):
        word, rest = chain[place : place + size], chain[place + size : place + size + 8]
        if word in words("places_zh", "provinces"):
            return True
        if word in words("places_zh", "cities") and (size > 2 or rest[:1] in ("市", "地") or DISTRICT_NEXT.match(rest)):
            return True
    return False


def _cue_before(chain: str, place: int) -> bool:
    return any(chain.endswith(cue, 0, place) for cue in _cues())


@cache
def _cues() -> tuple[str, ...]:
    return tuple(sorted(words("places_zh", "cues")))


RECOGNISER = Recogniser(name="address_zh", label=Label.ADDRESS, anchors=(Anchor.HAN_UNIT,), look=look)
