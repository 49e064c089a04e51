"""The console's pages over a real run: both languages, what a person can reach, what a screen reader meets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from fastapi import FastAPI

from headwater.compute.dispatcher import Dispatcher
from headwater.core.platform import Platform
from headwater.server.app import create_app
from headwater.server.console import MENU
from tests.flow.server.in_process import TestClient

PROJECT = """schema: headwater.project/1
name: hello
title: {zh: 你好, en: Hello <b>}
steps:
  first: {run: [sh, -c, "echo one; echo '<script>alert(1)</script>'; echo done > outputs/note"], outputs: [note]}
  second: {run: [sh, -c, "echo two; exit 3"], needs: [first]}
  third: {run: [echo, three], needs: [second]}
"""
VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})


class Page(HTMLParser):
    """What matters of a page: its tags with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of every tag of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def app(site: Platform) -> Iterator[FastAPI]:
    """Give the application with a dispatcher, so that runs go."""
    dispatcher = Dispatcher(site)
    dispatcher.start()
    yield create_app(site, dispatcher=dispatcher)
    dispatcher.stop()


@pytest.fixture
def run(admin: TestClient) -> str:
    """Give a run that has ended: one job done, one failed, one skipped."""
    made = admin.post("/api/runs", json={"text": PROJECT})
    assert made.status_code == 201, made.text
    identifier = str(made.json()["id"])
    events = admin.get(f"/runs/{identifier}/live").text
    assert events.rstrip().endswith('{"id": "", "content": ""}'), events[-300:]
    return identifier


def pages(run: str) -> list[str]:
    """Return every page that a run of jobs can lead to."""
    fixed = [entry.path for entry in MENU] + ["/account", "/reference", "/plan/T03", "/ledger?verify=1&kind=job.*", "/jobs?state=failed"]
    return [*fixed, f"/runs/{run}", *(f"/jobs/{run}.{name}" for name in ("first", "second", "third"))]


def test_every_page_is_whole_in_both_languages(browser: TestClient, run: str) -> None:
    for path in pages(run):
        for language, tag in (("en", "en"), ("zh", "zh-Hans")):
            answer = browser.get(path, params={"lang": language} if "?" not in path else None)
            assert answer.status_code == 200, f"{path} {answer.status_code} {answer.text[:300]}"
            page = Page(answer.text)
            assert page.open == [], path
            if "?" not in path:
                assert page.all("html") == [{"lang": tag}]


def test_every_page_can_be_used_by_keyboard_and_screen_reader(browser: TestClient, run: str) -> None:
    for path in pages(run):
        page = Page(browser.get(path).text)
        names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(names) == len(set(names)), path
        assert len(page.all("h1")) == 1, path
        assert page.all("a")[0] == {"class": "skip", "href": "#main"}, path
        labelled = {attributes.get("for") for attributes in page.all("label")}
        for field in page.all("input") + page.all("select"):
            assert field.get("type") == "hidden" or field.get("id") in labelled, f"{path} {field}"
        for image in page.all("svg"):
            assert "aria-label" in image or image.get("aria-hidden") == "true", path
        assert all(heading.get("scope") in ("col", "row") for heading in page.all("th")), path


def test_no_page_holds_a_script_or_style_of_its_own(browser: TestClient, run: str) -> None:
    for path in pages(run):
        page = Page(browser.get(path).text)
        assert page.all("script") == [{"src": "/static/live.js", "defer": ""}], path
        assert page.all("style") == [], path
        assert not any(name == "style" or name.startswith("on") for _, attributes in page.tags for name in attributes), path


def test_every_form_that_changes_something_carries_the_form_token(browser: TestClient, run: str) -> None:
    for path in [*pages(run), "/sign-in"]:
        for form in re.findall(r'<form[^>]*method="post".*?</form>', browser.get(path).text, re.DOTALL):
            assert 'name="csrf"' in form, path


def test_what_people_and_jobs_wrote_is_shown_as_text(browser: TestClient, run: str) -> None:
    assert "Hello &lt;b&gt;" in browser.get(f"/runs/{run}", params={"lang": "en"}).text
    job = browser.get(f"/jobs/{run}.first").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in job
    assert "<script>alert" not in job


def test_a_run_shows_what_became_of_each_job(browser: TestClient, run: str) -> None:
    page = browser.get(f"/runs/{run}").text
    for name, state in (("first", "done"), ("second", "failed"), ("third", "skipped")):
        assert f"<title>{name}: {state}</title>" in page


def test_the_stream_of_a_run_tells_its_parts_and_then_its_end(admin: TestClient, run: str) -> None:
    events = admin.get(f"/runs/{run}/live")
    assert events.headers["content-type"].startswith("text/event-stream")
    kinds = re.findall(r"^event: (\w+)$", events.text, re.MULTILINE)
    assert kinds == ["part"] * 5 + ["end"]


def test_the_stream_of_a_job_goes_on_from_where_the_page_stopped(admin: TestClient, run: str) -> None:
    whole = admin.get(f"/jobs/{run}.first/live").text
    rest = admin.get(f"/jobs/{run}.first/live?offset=4").text
    assert '"content": "one\\n<script>' in whole
    assert '"content": "<script>' in rest


def test_a_page_that_may_not_be_seen_is_not_in_the_menu(app: FastAPI, token: object) -> None:
    viewer = TestClient(app, headers={"authorization": f"Bearer {token('viewer')}", "accept": "text/html"})  # type: ignore[operator]
    page = viewer.get("/plan").text
    assert 'href="/plan"' in page
    assert 'href="/ledger"' not in page


def test_the_language_is_the_one_asked_for_then_the_one_remembered_then_the_browsers(anyone: TestClient) -> None:
    def language(path: str, accepts: str) -> str:
        return Page(anyone.get(path, headers={"accept-language": accepts}).text).all("html")[0]["lang"]

    assert language("/sign-in", "fr,zh-CN;q=0.8,en;q=0.5") == "zh-Hans"
    assert language("/sign-in", "fr") == "en"
    assert language("/sign-in?lang=zh&next=/plan", "en") == "zh-Hans"
    assert language("/sign-in", "en") == "zh-Hans"
    assert language("/sign-in?lang=xx", "en") == "zh-Hans"


def test_switching_the_language_stays_on_the_same_page(browser: TestClient) -> None:
    page = browser.get("/ledger?kind=job.*&before=9&lang=en").text
    assert 'href="/ledger?kind=job.%2A&amp;before=9&amp;lang=zh"' in page


def test_empty_lists_say_what_to_do_next(browser: TestClient) -> None:
    for path in ("/runs", "/models"):
        assert "headwater run recipes/credit/project.yaml" in browser.get(path).text
    for path in ("/jobs", "/cases", "/statements"):
        assert 'class="empty"' in browser.get(path).text


def test_revoking_a_statement_from_its_page_needs_a_reason_and_shows_it(browser: TestClient, admin: TestClient, run: str) -> None:
    lineage = admin.get("/api/statements").json()[0]["digest"]
    page = browser.get(f"/statements/{lineage}").text
    token = re.search(r'name="csrf" value="(\w+)"', page)
    assert token is not None
    assert browser.post(f"/statements/{lineage}/revoke", data={"csrf": token[1], "reason": ""}).status_code == 422
    assert browser.post(f"/statements/{lineage}/revoke", data={"csrf": token[1], "reason": "the data was wrong"}).status_code == 303
    assert "the data was wrong" in browser.get(f"/statements/{lineage}").text
    assert admin.get(f"/api/statements/{lineage}").json()["valid"] is False
