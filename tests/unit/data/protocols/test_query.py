"""CKAN's query language: what it finds, what it refuses, and that no text breaks it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput
from headwater.data.protocols.ckan import query

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DOCUMENT = {
    "name": ["bus-stops"],
    "organization": ["city_haidian"],
    "tags": ["公共交通", "Air Quality"],
    "groups": ["transport"],
    "title": ["Bus stops of Beijing", "公交站点"],
    "res_format": ["CSV", "Parquet"],
    "metadata_modified": ["2026-03-09T08:00:00.000000+00:00"],
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", True),
        ("*:*", True),
        ("organization:city_haidian", True),
        ('tags:"Air Quality"', True),
        ('tags:"air quality"', True),
        ("tags:公共交通 AND groups:transport", True),
        ("tags:公共交通 groups:finance", False),
        ("groups:finance OR res_format:csv", True),
        ("groups:(finance OR transport) AND -name:bus-stops", False),
        ("-(groups:finance) +res_format:Parquet", True),
        ("NOT groups:transport", False),
        ("name:bus*", True),
        ("name:b?s-*", True),
        ("name:*train*", False),
        ("title:stops", True),
        ("metadata_modified:[2026-03-09T00:00:00Z TO *]", True),
        ("metadata_modified:{2026-03-09T08:00:00Z TO *}", False),
        ("metadata_modified:[NOW-1DAY TO NOW]", False),
        ("metadata_modified:[NOW-2DAYS TO NOW]", True),
        ("metadata_modified:[NOW/DAY-7DAYS TO *]", True),
        ("name:[a TO c]", True),
    ],
)
def test_a_query_finds_what_it_says(text: str, found: bool) -> None:
    assert query.read(text, now=NOW, words_allowed=False).test(DOCUMENT) is found


def test_words_are_handed_to_the_index_and_fields_to_the_test() -> None:
    read = query.read("公交 stops groups:finance", now=NOW, words_allowed=True)
    assert (read.words, read.test(DOCUMENT)) == ("公交 stops", False)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("groups:", "near 'the end'"),
        ("groups:(finance", "near 'the end'"),
        ("nothing:x", "no field 'nothing'"),
        ("word", "names no field"),
        ("metadata_modified:[soon TO *]", "'soon' is not a time"),
        ("name:[a b]", "cannot be read"),
        ("(" * 60 + "name:x" + ")" * 60, "cannot be read"),
        ("x" * 9000, "9000 characters"),
        ("name:x)", "cannot be read"),
        ('name:"x', "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        query.read(text, now=NOW, words_allowed=False)


@given(st.text(alphabet=st.sampled_from('abn:*?()[]{}"\\+-ORANDT 1公'), max_size=40))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        query.read(text, now=NOW, words_allowed=True).test(DOCUMENT)
    except BadInput:
        pass


def test_many_stars_take_no_time() -> None:
    pattern = "name:" + "*a" * 500 + "*b"
    assert query.read(pattern, now=NOW, words_allowed=False).test(DOCUMENT | {"name": ["a" * 5000]}) is False


@pytest.mark.parametrize(
    ("text", "fields"), [("id asc", (("id", False),)), ("title_string desc, name", (("title_string", True), ("name", False))), ("", ())]
)
def test_an_order_is_read(text: str, fields: object) -> None:
    assert query.order(text) == fields


@pytest.mark.parametrize("text", ["id up", "nothing asc", "id asc; drop", "id asc desc"])
def test_an_order_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not an order"):
        query.order(text)
