"""`headwater data` as a person and a script use it, from a description and a file to the opening plan and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.flow.cli.test_commands import headwater

DESCRIBED = """schema: headwater.data-set/1
name: bus-stops
title: {zh: 公交站点, en: Bus stops}
about: {zh: 公共交通站点的位置。, en: Where the stops are.}
licence: CC-BY-4.0
zone: transport
columns:
  - {name: id, type: integer, required: true}
  - {name: name, type: text}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a description, a file, and a platform that has published it."""
    folder = tmp_path_factory.mktemp("data-commands")
    (folder / "d.yaml").write_text(DESCRIBED, encoding="utf-8")
    (folder / "s.csv").write_text("id,name\n1,西直门\n", encoding="utf-8")
    assert said(folder, "publish", str(folder / "d.yaml"), str(folder / "s.csv"))["number"] == 1
    return folder


def said(folder: Path, *arguments: str) -> Any:
    """Return the JSON that a command prints."""
    done = headwater("data", *arguments, "--json", data=folder / "data")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_what_was_published_is_found_listed_and_cited(folder: Path) -> None:
    assert [one["name"] for one in said(folder, "search", "公交")] == ["bus-stops"]
    assert [one["name"] for one in said(folder, "list")] == ["bus-stops"]
    assert said(folder, "versions", "bus-stops")[0]["rows"] == 1
    assert "bus-stops-1" in said(folder, "cite", "bus-stops", "--style", "bibtex")["citation"]
    assert said(folder, "card", "bus-stops")["recordSet"][0]["name"] == "table"


def test_a_promise_is_entered_and_shows_in_the_plan(folder: Path) -> None:
    made = said(folder, "promise", "bus-stops", "--due", "2026-01-05", "--rhythm", "yearly", "--reason", "plan of 2026")
    assert (made["due"], made["revision"]) == ("2026-01-05", 1)
    assert [one["state"] for one in said(folder, "plan")] == ["open"]


def test_a_wrong_description_and_a_wrong_cell_are_told_by_line_and_exit_as_usage(folder: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(DESCRIBED.replace("openness", "x").replace("type: text", "type: texts"), encoding="utf-8")
    done = headwater("data", "publish", str(wrong), str(folder / "s.csv"), data=folder / "data")
    assert (done.returncode, "wrong.yaml:9" in done.stderr, "Traceback" in done.stderr) == (2, True, False)
    bad = tmp_path / "bad.csv"
    bad.write_text("id,name\n1,a\nx,b\n", encoding="utf-8")
    done = headwater("data", "publish", str(folder / "d.yaml"), str(bad), data=folder / "data")
    assert (done.returncode, "bad.csv:3: 1 cells of the column 'id' are no integer" in done.stderr) == (2, True)


def test_the_disclosure_is_printed_and_written_as_a_page(folder: Path, tmp_path: Path) -> None:
    assert said(folder, "disclosure", "2026")["schema"] == "headwater.data-disclosure/1"
    page = tmp_path / "disclosure.html"
    assert said(folder, "disclosure", "2026", "--html", str(page))["year"] == 2026
    assert "本年度无授权" in page.read_text(encoding="utf-8")


def test_a_withdrawn_data_set_is_no_longer_found(folder: Path) -> None:
    assert said(folder, "withdraw", "bus-stops", "--reason", "superseded")["published"] is False
    assert said(folder, "search", "公交") == []
