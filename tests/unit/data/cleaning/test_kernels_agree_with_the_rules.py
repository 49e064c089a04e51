from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.data.cleaning import addresses_kernel, edits_kernel, gopher_kernel, jaccard_kernel, repetition_kernel
from headwater.data.cleaning.batch import Batch, Texts
from headwater.data.cleaning.characters import lower, table
from headwater.data.cleaning.stages import GopherQuality, Normalise, Remove
from tests.unit.data.cleaning import slow

PIECES = ["数据", "开放", "北京市", "模型", "的", "是", "abc", "ab", "a", " ", "\n", "\n\n", "。", "…", "...", "- ", "42", "Ａ", "😀", "#"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
LIMITS = [0.3, 0.2, 0.3, 0.2, 0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.10]


def batch(*texts: str) -> Batch:
    return Batch(fields=Texts.of(texts), width=1, places=np.arange(len(texts)))


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4), st.integers(1, 12))
def test_character_repetition_is_what_counting_gives(texts: list[str], n: int) -> None:
    found = np.zeros(len(texts))
    repetition_kernel.character_repetition(*Texts.of(texts), n, found)
    assert found.tolist() == pytest.approx([slow.character_repetition(text, n) for text in texts])


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=4), st.sampled_from(["jieba", "plain"]))
def test_gopher_repetition_breaks_the_same_rule_as_reading_it_off(texts: list[str], tokeniser: str) -> None:
    one = batch(*texts)
    words = one.words(tokeniser)  # type: ignore[arg-type]
    broken, figures = np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts))
    gopher_kernel.gopher_repetition(*one.texts, table(), words.starts, words.lengths, words.ends, np.array(LIMITS), broken, figures)
    expected = [slow.gopher_repetition(text, slow.words_of(text, tokeniser), LIMITS) for text in texts]  # type: ignore[arg-type]
    assert broken.tolist() == expected


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT)
def test_jaccard_is_exact(one: str, other: str) -> None:
    points = [jaccard_kernel.shingled(np.frombuffer(text.encode(), dtype=np.uint8), lower()) for text in (one, other)]
    (first, distinct), (second, others) = (jaccard_kernel.shingle_set(each) for each in points)
    shared = jaccard_kernel.common(points[0], first, points[1], second, 1000)
    assert shared / (distinct + others - shared) == slow.jaccard(one, other)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.sampled_from(["我来到北京", "清华大学", "的", "T恤", "C++", "3.14%", "abc", "小明硕士毕业", "，", " ", "\r\n", "龘靐"]),
        max_size=12,
    )
)
def test_chinese_words_are_those_of_jieba(pieces: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import jieba
    text = "".join(pieces)
    assert slow.words_of(text, "jieba") == [word for word in jieba.cut(text) if not word.isspace()]


def test_plain_words_are_runs_of_letters_and_single_han() -> None:
    assert slow.words_of("Hello, 世界 v2.0 – naïve", "plain") == ["Hello", ",", "世", "界", "v2", ".", "0", "–", "naïve"]


ADDRESS = st.lists(
    st.sampled_from(["a", "Bob", "1", "256", "0", ".", "@", "-", "_", "+", " ", "中", ".com", ":", "fe80", "::"]), max_size=30
).map("".join)


@settings(max_examples=500, deadline=None)
@given(ADDRESS)
def test_addresses_are_what_the_pattern_says(text: str) -> None:
    texts = Texts.of([text])
    for mark, pattern in (
        (addresses_kernel.mark_emails, r"[A-Za-z0-9.\-+_]+@[a-z0-9.\-+_]+\.[a-z]+"),
        (addresses_kernel.mark_ips, r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])\.){3}"
         r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])|(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}"),
    ):  # fmt: skip
        marks = np.zeros(len(text), dtype=np.uint8)
        mark(*texts, marks)
        left = Texts(*edits_kernel.drop_marked(*texts, marks)).strings()[0]
        assert left == re.sub(pattern, "", text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("见https://data.gov.cn/list?a=1。另见", "见。另见"),
        ("看 http://a.b/c(d)，好", "看 ，好"),
        ("[链接](https://a.org/x_(y)) 完", "[链接]() 完"),
        ("www.gov.cn 和 data.gov.cn/list", " 和 "),
        ("写信给 zhang.san@example.com 或 10.0.0.1", "写信给  或 "),
        ("比例 3:2，时间：今天", "比例 3:2，时间：今天"),
        ("e.g. this/that", "e.g. this/that"),
    ],
)
def test_links_and_addresses_go_and_the_text_around_them_stays(text: str, left: str) -> None:
    one = batch(text)
    Remove().apply(one)
    assert one.texts.strings() == [left]


def test_normalising_makes_spaces_plain_and_drops_what_cannot_be_seen() -> None:
    one = batch("\u3000　标题\u00a0一\x07\r\n\r\n\r\n\r\n正文\t完 ", "e\u0301")
    changed = Normalise(lines="paragraphs").apply(one)
    assert one.texts.strings() == ["标题 一\n\n正文 完", "é"]
    assert changed == 2


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing(text: str) -> None:
    one = batch(text)
    Normalise().apply(one)
    assert Normalise().apply(one) == 0


def test_the_gopher_quality_rules_are_each_told_apart() -> None:
    good = "这是一个关于数据开放的文档，它的内容是真实的。" * 8
    texts = [good, "短文", "# " * 60, good + "…" * 60, "\n".join(["- 数据的开放是好的"] * 30), "甲的。\n" * 3 + "1 " * 90]
    one = batch(*texts)
    GopherQuality(least_words=20).apply(one)
    assert {place: why.rule for place, why in one.removed.items()} == {
        1: "words",
        2: "words",
        3: "ellipses",
        4: "bullet_lines",
        5: "words_with_letters",
    }
    assert one.places.tolist() == [0]


def test_a_removed_documents_figures_say_how_far_it_was_from_the_limit() -> None:
    one = batch("短")
    GopherQuality(least_words=20).apply(one)
    assert one.removed[0].figure == 1.0
    assert one.removed[0].limit == 20
    assert one.removed[0].code == "gopher_quality.words"


def test_words_stay_with_their_documents_when_others_go() -> None:
    texts = ["我们在北京", "丢", "清华大学的数据"]
    one = batch(*texts)
    one.words("jieba")
    one.remove("test", [], np.array([-1, -1, -1]), np.zeros(3))
    one._keep(np.array([0, 2]))
    found = one.words("jieba")
    whole = "".join(one.texts.strings())
    assert [whole[s : s + n] for s, n in zip(found.starts.tolist(), found.lengths.tolist(), strict=True)] == [
        *slow.words_of(texts[0], "jieba"),
        *slow.words_of(texts[2], "jieba"),
    ]
    assert math.isclose(found.ends[-1], len(found.starts))
