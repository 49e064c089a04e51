from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.data.cleaning import duplicates
from headwater.data.cleaning.batch import Texts
from headwater.data.cleaning.duplicates import STAYS, Buckets, ranked
from headwater.data.cleaning.parts import bands_of
from headwater.data.cleaning.stages import NearDuplicates
from tests.unit.data.cleaning import slow

STAGE = NearDuplicates(jaccard=0.7, bands=64, rows=2)
WORDS = ["公共数据", "授权运营", "管理办法", "第一条", "城市", "open data", "model", "。", "，"]
BASE = st.lists(st.sampled_from(WORDS), min_size=8, max_size=16).map("".join)


@st.composite
def families(draw: st.DrawFn) -> list[str]:
    """Draw texts of which some are edited copies of others."""
    made = draw(st.lists(BASE, min_size=1, max_size=4))
    for _ in range(draw(st.integers(0, 6))):
        origin = draw(st.sampled_from(made))
        cut = draw(st.integers(0, len(origin)))
        made.append(origin[:cut] + draw(st.sampled_from(["", "新", "补充条款"])) + origin[cut:])
    return made


def digests(texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([[hash(text) & 0xFFFF, len(text)] for text in texts], dtype=np.uint64)


def decided(texts: list[str]) -> list[int]:
    keys = bands_of(Texts.of(texts), STAGE)
    rank = ranked(np.array([len(text) for text in texts]), digests(texts), STAGE.prefer)
    buckets = Buckets((keys[:, band].copy() for band in range(STAGE.bands)), rank, np.ones(len(texts), dtype=bool))
    return duplicates.near(STAGE, buckets, lambda record: texts[record].encode(), len(texts)).partner.tolist()


def by_hand(texts: list[str]) -> list[int]:
    """Go from the preferred to the least preferred and compare with all that stay."""
    order = sorted(range(len(texts)), key=lambda one: (-len(texts[one]), *digests(texts)[one].tolist(), one))
    partner = [STAYS] * len(texts)
    for place, one in enumerate(order):
        for earlier in order[:place]:
            if partner[earlier] == STAYS and slow.jaccard(texts[earlier], texts[one]) >= STAGE.jaccard:
                partner[one] = earlier
                break
    return partner


@settings(max_examples=150, deadline=None)
@given(families())
def test_near_duplicates_are_those_that_comparing_all_pairs_finds(texts: list[str]) -> None:
    assert decided(texts) == by_hand(texts)


@settings(max_examples=80, deadline=None)
@given(families(), st.randoms(use_true_random=False))
def test_which_texts_stay_does_not_depend_on_their_order(texts: list[str], order: random.Random) -> None:
    texts = list(dict.fromkeys(texts))
    stay = {texts[place] for place, partner in enumerate(decided(texts)) if partner == STAYS}
    order.shuffle(texts)
    assert {texts[place] for place, partner in enumerate(decided(texts)) if partner == STAYS} == stay


@settings(max_examples=80, deadline=None)
@given(families())
def test_no_two_that_stay_are_too_alike_and_each_that_goes_is_like_one_that_stays(texts: list[str]) -> None:
    partner = decided(texts)
    stay = [place for place, one in enumerate(partner) if one == STAYS]
    assert all(slow.jaccard(texts[a], texts[b]) < STAGE.jaccard for a in stay for b in stay if a < b)
    assert all(one in stay and slow.jaccard(texts[one], texts[place]) >= STAGE.jaccard for place, one in enumerate(partner) if one != STAYS)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 1000)), max_size=30))
def test_of_the_same_text_the_record_with_the_lowest_digest_stays(rows: list[tuple[int, int]]) -> None:
    hashes = np.array([[one, 0] for one, _ in rows], dtype=np.uint64).reshape(-1, 2)
    marks = np.array([[one, place] for place, (_, one) in enumerate(rows)], dtype=np.uint64).reshape(-1, 2)
    partner = duplicates.exact(hashes, marks).partner.tolist()
    for text in {one for one, _ in rows}:
        group = [place for place, (one, _) in enumerate(rows) if one == text]
        lowest = min(group, key=lambda place: (rows[place][1], place))
        assert [partner[place] for place in group] == [STAYS if place == lowest else lowest for place in group]


def test_bands_that_would_miss_pairs_are_refused_with_the_share_that_they_miss() -> None:
    with pytest.raises(ValueError, match=r"8 bands of 8 rows miss 62\.19% of the pairs at 0\.7"):
        NearDuplicates(jaccard=0.7, bands=8, rows=8)
