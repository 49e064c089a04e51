"""The public portal as a stranger meets it: pages, downloads, and snippets that are pasted and run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from tests.conformance.conftest import CLIENTS, STOPS, Portal
from tests.flow.server.test_pages import Page

BROWSER = {"accept": "text/html"}
OWN = {"CKAN", "Frictionless", "Croissant"}
"""Tools whose clients are installed beside our own packages; the others have an environment of their own."""


class Snippets(HTMLParser):
    """The snippets of a page by tool, as a browser would copy them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, tuple[str, str]] = {}
        self._at: tuple[str, str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if "data-snippet" in told:
            self._at = told["data-snippet"], told["data-language"]
            self.found[self._at[0]] = (self._at[1], "")

    def handle_data(self, data: str) -> None:
        if self._at is not None:
            language, text = self.found[self._at[0]]
            self.found[self._at[0]] = language, text + data

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._at = None


def snippets(portal: Portal, name: str) -> Mapping[str, tuple[str, str]]:
    """Return the snippets of a data set's page."""
    return Snippets(portal.get(f"/dataset/{name}", headers=BROWSER).text).found


PATHS = ["/datasets", "/datasets?q=公交&zone=transport", "/datasets?page=2", "/datasets?q=nothingatall", "/dataset/bus-stops"]
PATHS += ["/dataset/bus-stops?version=1", "/dataset/firm-credit", "/dataset/plain-words", "/dataset/road-speed"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_stranger_reads_every_page_in_both_languages(portal: Portal, path: str, language: str) -> None:
    answer = portal.get(path, headers=BROWSER | {"accept-language": language})
    assert answer.status_code == 200
    page = Page(answer.text)
    assert page.open == []
    assert page.all("html")[0]["lang"].startswith(language)
    assert [one for one in page.all("script") if not one.get("src", "").startswith("/static/")] == []
    labelled = {one["for"] for one in page.all("label")}
    shown = [one for one in page.all("input") + page.all("select") if one.get("type") != "hidden"]
    assert {one.get("id") for one in shown} <= labelled


def test_search_finds_in_both_languages_and_zones_narrow_it(portal: Portal) -> None:
    for query in ("q=公交", "q=bus+stops&zone=transport", "q=stops&openness=open&zone=transport"):
        assert "/dataset/bus-stops" in portal.get(f"/datasets?{query}", headers=BROWSER).text
    assert "/dataset/bus-stops" not in portal.get("/datasets?zone=finance", headers=BROWSER).text
    assert "/dataset/firm-credit" in portal.get("/datasets?openness=conditional", headers=BROWSER).text


def test_a_page_shows_rows_columns_quality_terms_versions_and_lineage(portal: Portal) -> None:
    page = portal.get("/dataset/bus-stops", headers=BROWSER).text
    for part in (
        'id="preview"',
        'id="schema"',
        'id="quality"',
        'id="terms"',
        'id="versions"',
        'id="lineage"',
        "<svg",
        "西直门",
        "Creative Commons Attribution",
    ):
        assert part in page, part
    old = portal.get("/dataset/bus-stops?version=1", headers=BROWSER).text
    assert "安定门" in page
    assert "安定门" not in old


def test_what_people_wrote_is_shown_as_text_and_never_as_a_page(portal: Portal) -> None:
    page = portal.get("/dataset/bus-stops", headers=BROWSER).text
    assert "<b>not bold</b>" not in page
    assert "&lt;b&gt;not bold&lt;/b&gt;" in page


@pytest.mark.parametrize("role", ["stranger", "admin", "operator"])
def test_rows_of_a_data_set_that_is_not_open_are_on_no_page_and_how_to_apply_is(portal: Portal, role: str) -> None:
    headers = BROWSER | ({"authorization": f"Bearer {portal.tokens[role]}"} if role != "stranger" else {})
    page = portal.get("/dataset/firm-credit", headers=headers).text
    assert 'id="preview"' not in page
    assert 'id="files"' not in page
    assert "/files/" not in page
    assert 'id="apply"' in page
    assert "data-authorisation" in page


def test_downloads_give_the_files_bytes_whole_in_ranges_and_as_attachments(portal: Portal) -> None:
    path = "/dataset/bus-stops/versions/1/files/stops.csv"
    whole = portal.get(path)
    assert whole.content == STOPS.encode()
    assert whole.headers["content-disposition"].startswith("attachment")
    assert portal.get(path, headers={"range": "bytes=7-12"}).content == STOPS.encode()[7:13]
    assert portal.get(path, headers={"range": "bytes=-5"}).content == STOPS.encode()[-5:]
    assert portal.get(path, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    head = httpx.head(portal.address + path, trust_env=False)
    assert (head.status_code, int(head.headers["content-length"]), head.content) == (200, len(STOPS.encode()), b"")


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=99999999-", 416),
        ("bytes=5-1", 200),
        ("bytes=" + ",".join(f"{number}-{number}" for number in range(500)), 200),
        ("bytes=-0", 416),
        ("bytes=99999999999999999999999-", 200),
        ("lines=1-2", 200),
        ("bytes=a-b", 200),
    ],
)
def test_ranges_that_are_none_or_too_many_do_no_harm(portal: Portal, asked: str, status: int) -> None:
    answer = portal.get("/dataset/bus-stops/versions/1/files/stops.csv", headers={"range": asked})
    assert answer.status_code == status
    assert len(answer.content) <= len(STOPS.encode())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/dataset/nothing", 404),
        ("/dataset/bus-stops?version=99", 404),
        ("/dataset/bus-stops?version=0", 422),
        ("/dataset/bus-stops?version=x", 422),
        ("/datasets?page=0", 422),
        ("/datasets?page=99999999999", 422),
        ("/datasets?q=" + "x" * 500, 422),
        ("/dataset/bus-stops/versions/1/files/../../../../etc/passwd", 404),
        ("/dataset/bus-stops/versions/1/files/..%2f..%2fetc%2fpasswd", 404),
        ("/dataset/bus-stops/versions/99/files/stops.csv", 404),
        ("/dataset/bus-stops/versions/1/files/none.csv", 404),
        ("/dataset/%0d%0aset-cookie:x", 404),
        ("/data/signed/forged/stops.csv", 403),
    ],
)
def test_what_is_not_there_or_wrong_is_told(portal: Portal, path: str, status: int) -> None:
    answer = portal.get(path)
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers or "x" not in answer.headers["set-cookie"][:2]


@pytest.mark.parametrize("name", ["bus-stops", "plain-words"])
def test_every_snippet_works_when_it_is_pasted(portal: Portal, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = snippets(portal, name)
    assert set(found) >= {"curl", "CKAN", "Frictionless"}
    (tmp_path / "headwater.share").write_bytes(portal.profile(tmp_path).read_bytes())
    plain = {"PATH": __import__("os").environ["PATH"], "HOME": str(tmp_path), "NO_PROXY": "*", "HF_HOME": str(tmp_path / "hf")}
    for tool, (language, text) in found.items():
        python = sys.executable if tool in OWN else str(CLIENTS)
        if language == "python" and not Path(python).exists():
            continue
        command = ["bash", "-c", text] if language == "shell" else [python, "-W", "ignore", "-c", text]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=plain, timeout=120)
        assert done.returncode == 0, f"{tool}: {done.stderr[-2000:]}"
        assert language == "shell" or done.stdout.strip(), tool
    assert {path.name for path in tmp_path.iterdir()} >= ({"stops.csv", "stops.parquet"} if name == "bus-stops" else set())
