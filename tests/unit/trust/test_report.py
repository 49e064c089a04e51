"""The report: complete for machines, safe and readable for people, in both languages, without scripts."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from headwater.core import canonical
from headwater.trust.dimensions import measures
from headwater.trust.grade import grade
from headwater.trust.measurement import Text
from headwater.trust.plot import plot_of
from headwater.trust.policy import load
from headwater.trust.report import About, Report, content, figure, html
from tests.unit.trust import world

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> & {{ 7*7 }}"
ABOUT = About(
    model="sha256:" + "a" * 64 + "/", data="sha256:" + "b" * 64 + "/", data_title=Text(en="Rows", zh="数据"), environment={}, rows_asked=9
)


def report(*, about: About = ABOUT, hostile: bool = False, n: int = 300) -> Report:
    made = world.make(world.truth, n=n)
    exam, policy = made.exam, load("headwater-1")
    if hostile:
        evil = Text(en=HOSTILE, zh=HOSTILE)
        attributes = tuple(dataclasses.replace(one, name=HOSTILE, title=evil, groups=(HOSTILE, "b")) for one in exam.attributes)
        declared = dataclasses.replace(attributes[0], name=HOSTILE + "2", not_gradable=evil)
        signature = exam.signature.model_copy(update={"classes": ("no", HOSTILE), "positive": HOSTILE})
        exam = dataclasses.replace(exam, attributes=(*attributes, declared), signature=signature)
        about = dataclasses.replace(about, data_title=evil, environment={HOSTILE: HOSTILE})
    grades = grade({name: one.take(exam) for name, one in measures().items()}, policy)
    return Report(about=about, policy=policy, use_class="U1", grades=grades, exam=exam, measures=measures())


class Page(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.texts: dict[str, list[str]] = {"": [], "en": [], "zh-CN": []}
        self._language = [""]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.append(tag)
        self.names |= set(told)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        self.ids += [told["id"] or ""] if "id" in told else []
        if tag == "span":
            self._language.append(told.get("lang") or self._language[-1])

    def handle_endtag(self, tag: str) -> None:
        if tag == "span":
            self._language.pop()

    def handle_data(self, data: str) -> None:
        self.texts[self._language[-1]].append(data.strip())


def test_hostile_names_are_shown_as_text_and_never_run() -> None:
    page = Page(html(report(hostile=True)))
    assert not {"script", "img", "iframe", "object", "form", "link"} & set(page.tags)
    assert not [name for name in page.names if name.startswith("on")]
    assert HOSTILE in page.texts["en"]
    assert any("{{ 7*7 }}" in text for text in page.texts["en"])


def test_the_page_reaches_nothing_outside_itself() -> None:
    text = html(report())
    assert set(Page(text).links) == {"#zh", "#en"}
    assert "http:" not in text
    assert "https:" not in text
    assert "url(" not in text


def test_every_text_is_there_in_both_languages() -> None:
    page = Page(html(report()))
    assert len(page.texts["en"]) == len(page.texts["zh-CN"])
    assert not [text for text in page.texts["en"] if any("\u4e00" <= sign <= "\u9fff" for sign in text)]
    assert {"zh", "en"} <= set(page.ids)


def test_ids_are_unique_and_headings_do_not_skip_a_level() -> None:
    page = Page(html(report()))
    assert len(page.ids) == len(set(page.ids))
    levels = [int(tag[1]) for tag in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_what_the_page_shows_is_what_the_machine_reads() -> None:
    made = report()
    text, told = html(made), content(made)
    for dimension in told["dimensions"].values():
        for one in dimension["measurements"]:
            if "value" in one:
                assert f"<b>{figure(one['value'])}</b>" in text
            else:
                assert one["notMeasurable"]["zh"] in text
    assert told["policy"]["digest"] in text


def test_the_content_can_be_signed_and_has_what_a_gate_reads() -> None:
    told = content(report())
    assert json.loads(canonical.to_bytes(told)) == told
    assert set(told["dimensions"]) == {"stability", "fairness", "calibration", "explainability", "privacy"}
    assert all(one["grade"] in "ABCDEN" for one in told["dimensions"].values())
    assert told["overall"] in "ABCDEN"
    assert told["policy"] == {"id": "headwater-1", "digest": load("headwater-1").digest}


def test_the_same_examination_gives_the_same_bytes() -> None:
    assert html(report()) == html(report())
    assert canonical.to_bytes(content(report())) == canonical.to_bytes(content(report()))


def test_marks_of_a_plot_stand_in_order_within_it() -> None:
    for dimension in report().grades.dimensions.values():
        for one in dimension.figures:
            drawn = plot_of(one)
            if drawn is None:
                assert one.measurement.absent is not None
                continue
            assert 0 <= drawn.low <= drawn.value <= drawn.high <= 100
            if drawn.bands:
                assert [band.letter for band in drawn.bands] in (list("ABCDE"), list("EDCBA"))
                assert sum(band.width for band in drawn.bands) == pytest.approx(100, abs=0.1)


def test_figures_for_people_have_three_decimals_and_no_negative_zero() -> None:
    assert [figure(value) for value in (0.12345, -0.0001, -0.5, np.float64(1))] == ["0.123", "0.000", "-0.500", "1.000"]
