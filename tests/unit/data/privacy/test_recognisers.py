"""What counts as personal data: sentences with what must be found in them, and nothing else."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput
from headwater.data.privacy import ALL, Label, find
from headwater.data.privacy.finding import BLOCK, resolve
from headwater.data.privacy.recogniser import Evidence, Span

MARKED = re.compile(r"\[([A-Z_]+)\|([^\]]*)\]")


def probes() -> Iterator[str]:
    for line in (Path(__file__).parent / "probes.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line


def unmarked(line: str) -> tuple[str, list[tuple[int, int, str]]]:
    """Return a probe's text and the spans that are marked in it."""
    text, spans, last = "", [], 0
    for match in MARKED.finditer(line):
        text += line[last : match.start()]
        spans.append((len(text), len(text) + len(match[2]), match[1]))
        text, last = text + match[2], match.end()
    return text + line[last:], spans


@pytest.mark.parametrize("line", probes())
def test_exactly_what_is_marked_is_found(line: str) -> None:
    text, spans = unmarked(line)
    assert [(one.start, one.end, one.label) for one in find(text)] == spans


def test_only_the_labels_asked_for_are_given_but_all_are_weighed_against_one_another() -> None:
    text = "身份证11010119900307803X，手机13800001234"
    assert [one.label for one in find(text, {Label.PHONE})] == [Label.PHONE]
    assert [one.label for one in find(text)] == [Label.CN_ID_CARD, Label.PHONE]


def test_an_unknown_label_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BadInput, match=r"There is no label 'FAX'. Labels: ADDRESS, BANK_CARD"):
        find("x", {"FAX"})


@pytest.mark.parametrize("text", ["", "\0", "\0\0张伟\0", "\ud800", "a\udfff@b.cn", "\n" * 10, "１" * 50, "🙂王🙂"])
def test_strange_texts_are_gone_through_all_the_same(text: str) -> None:
    assert all(0 <= one.start < one.end <= len(text) for one in find(text))


@given(st.text(alphabet=st.sampled_from("张伟王芳市区路号栋0123456789 -@.com:：，AZaz()京E６\ud800\n"), max_size=200))
def test_spans_lie_within_the_text_in_order_and_apart(text: str) -> None:
    spans = find(text)
    assert all(one.end <= other.start for one, other in itertools.pairwise(spans))
    assert all(0 <= one.start < one.end <= len(text) and one.label in ALL and 0 < one.score <= 1 for one in spans)


@given(st.sampled_from(list(probes())), st.sampled_from(["甲", "。", "（", " ", "\n"]))
def test_what_is_found_does_not_depend_on_a_chinese_character_beside_it(line: str, beside: str) -> None:
    text, spans = unmarked(line)
    numbers = {(start + 1, end + 1, label) for start, end, label in spans if label not in (Label.PERSON, Label.ADDRESS) and start > 0}
    assert numbers <= {(one.start, one.end, one.label) for one in find(beside + text + beside)}


def test_a_text_longer_than_a_block_is_read_as_one() -> None:
    number = "13800001234"
    text = "字" * (BLOCK - 5) + number + "，" + "字" * BLOCK + number
    assert [(one.start, one.label) for one in find(text)] == [(BLOCK - 5, "PHONE"), (len(text) - 11, "PHONE")]


def test_a_long_hostile_text_takes_time_in_proportion() -> None:
    import time

    for piece in ("路1号", "张伟", "::1", "1 A Street ", "a@", "6222 0200 "):
        began = time.process_time()
        find(piece * (60_000 // len(piece)))
        assert time.process_time() - began < 5, piece


def test_overlaps_are_resolved_by_evidence_then_length_then_place_whatever_the_order() -> None:
    def span(start: int, end: int, evidence: Evidence, label: str = "PHONE") -> Span:
        return Span(start=start, end=end, label=label, score=0.9, rule="r", evidence=evidence)

    weak, shape, sure = span(0, 20, Evidence.CONTEXT), span(5, 12, Evidence.SHAPE), span(8, 10, Evidence.CHECKSUM)
    short, late = span(30, 34, Evidence.SHAPE), span(33, 37, Evidence.SHAPE)
    given_spans = [late, short, weak, shape, sure]
    assert resolve(given_spans) == resolve(given_spans[::-1]) == [sure, short]
