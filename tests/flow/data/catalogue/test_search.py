"""Search and filters over both databases: the same answers in the same order, for Chinese and English."""

from __future__ import annotations

import pytest

from headwater.core.platform import Platform
from headwater.data.catalogue import publishing, search, sets
from headwater.data.catalogue.sets import Filters
from tests.flow.data.conftest import Publish, description


@pytest.fixture
def filled(any_site: Platform, publish_anywhere: Publish) -> Platform:
    """Give a platform with a few data sets that share words."""
    publish_anywhere(name="bus-stops")
    publish_anywhere(
        "n\n1\n",
        name="air-quality",
        title={"zh": "空气质量监测数据", "en": "Air quality measurements"},
        about={"zh": "PM2.5 等指标的逐小时监测数据。", "en": "Hourly figures; stations stand near bus stops."},
        zone=None,
        keywords=["环境", "air"],
    )
    publish_anywhere(
        "站点编号\n7\n",
        name="stations",
        title={"zh": "监测站", "en": "Stations"},
        about={"zh": "监测站的位置", "en": "Where they are."},
        zone="spatial",
        keywords=["环境 监测"],
        openness="conditional",
    )
    publishing.declare(any_site, description("planned"), "city", actor="test")
    return any_site


def found(site: Platform, text: str, filters: Filters = sets.PUBLISHED) -> list[str]:
    with site.db.read() as connection:
        page = search.search(connection, text, filters)
    assert page.total == len(page.found)
    return [one.name for one in page.found]


def test_the_same_query_gives_the_same_answer_on_each_database(filled: Platform) -> None:
    answers = {
        "数据": ["air-quality"],
        "监测": ["stations", "air-quality"],
        "公交 站点": ["bus-stops"],
        "站": ["bus-stops", "stations"],
        "bus": ["bus-stops", "air-quality"],
        "STOP": ["bus-stops", "air-quality"],
        "pm2.5 监测": ["air-quality"],
        "编号": ["bus-stops", "stations"],
        "量监": ["air-quality"],
        "数监": [],
        "moon": [],
        "，。": [],
        "％_%": [],
    }
    assert {text: sorted(found(filled, text)) for text in answers} == {text: sorted(names) for text, names in answers.items()}
    assert found(filled, "监测") == ["stations", "air-quality"]
    assert found(filled, "bus") == ["bus-stops", "air-quality"]


def test_filters_narrow_what_is_found(filled: Platform) -> None:
    assert found(filled, "", Filters(zone="spatial")) == ["stations"]
    assert sorted(found(filled, "", Filters(openness="open"))) == ["air-quality", "bus-stops"]
    assert found(filled, "", Filters(keyword="环境")) == ["air-quality"]
    assert found(filled, "", Filters(keyword="环境 监测")) == ["stations"]
    assert found(filled, "监测", Filters(zone="transport")) == []
    assert found(filled, "", Filters(published=False)) == ["planned"]
    assert found(filled, "", Filters(scopes=("city/lab",))) == []
    assert len(found(filled, "", Filters(scopes=("city",)))) == 3


def test_pages_are_whole_and_differ(filled: Platform) -> None:
    with filled.db.read() as connection:
        pages = [search.search(connection, "", start=start, limit=2) for start in (0, 2)]
        listed = sets.listed(connection, limit=2)
    assert [one.total for one in pages] == [3, 3]
    assert len({one.name for page in pages for one in page.found}) == 3
    assert ([one.name for one in listed.found], listed.total) == (["air-quality", "bus-stops"], 3)


def test_a_new_description_is_found_by_its_new_words_only(any_site: Platform, publish_anywhere: Publish) -> None:
    publish_anywhere()
    publishing.declare(any_site, description(title={"zh": "地铁站", "en": "Underground stations"}), "city", actor="test")
    assert found(any_site, "地铁") == ["bus-stops"]
    assert found(any_site, "公交") == []
