"""How text becomes terms: words of two Chinese characters are found, whatever stands around them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.data.catalogue.terms import keyword_term, query_terms, terms

han = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=1, max_size=12)


@given(han, st.data())
def test_every_part_of_a_chinese_text_is_found_in_it(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    assert set(query_terms(text[start:end])) <= set(terms(text))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("北京市公共数据开放平台", "数据"),
        ("北京市公共数据开放平台", "平台 公共"),
        ("Bus stops of Beijing", "STOP"),
        ("Ｂｕｓ　ｓｔｏｐｓ", "bus stop"),
        ("使用GPU训练", "gpu 训练"),
        ("PM2.5监测", "pm2.5"),
        ("straße", "STRASSE"),
    ],
)
def test_a_query_finds_the_text(text: str, query: str) -> None:
    assert set(query_terms(query)) <= set(terms(text))


def test_characters_that_stand_apart_are_no_word() -> None:
    assert not set(query_terms("数据")) <= set(terms("据数"))


def test_a_query_of_signs_has_no_terms() -> None:
    assert query_terms("!!! ，。 —") == ()


@given(st.text(max_size=200))
def test_terms_are_short_whatever_the_text(text: str) -> None:
    assert all(0 < len(term) <= 64 for term in (*terms(text), *query_terms(text), keyword_term(text)))
