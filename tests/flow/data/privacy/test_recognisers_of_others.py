"""Recognisers that come with other packages: a third party's, and Presidio's where it is installed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.core.errors import NotFound
from headwater.data.privacy import Label, find

STAFF_NUMBER = """
import re
from headwater.data.privacy.recogniser import AFTER, BEFORE, Anchor, Recogniser, Span

NUMBER = re.compile(rf"{BEFORE}HW-[0-9]{{6}}{AFTER}")

def look(text, start, end):
    for match in NUMBER.finditer(text, start, end):
        yield Span(start=match.start(), end=match.end(), label="PERSON", score=0.9, rule="staff_number")

RECOGNISER = Recogniser(name="staff_number", label="PERSON", anchors=(Anchor.TEXT,), look=look)
"""


def test_a_recogniser_is_used_once_the_package_that_declares_it_is_installed(tmp_path: Path) -> None:
    (tmp_path / "staff_number.py").write_text(STAFF_NUMBER)
    told = tmp_path / "staff_number-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: staff-number\nVersion: 1.0\n")
    (told / "entry_points.txt").write_text("[headwater.recognisers]\nstaff_number = staff_number:RECOGNISER\n")
    code = "from headwater.data.privacy import find; print([(s.start, s.end, s.rule) for s in find('工号HW-123456在岗')])"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "[(2, 11, 'staff_number')]", done.stderr


def test_a_recogniser_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(NotFound, match=r"There is no recogniser 'staff'. There are: address_en"):
        find("x", also=("staff",))


def test_presidio_finds_what_our_recognisers_leave_alone_and_asks_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("presidio_analyzer", reason="needs the extra presidio")

    def refused(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    text = "Call me at 4155550134 today."  # ten digits in one group: ours ask for groups
    assert find(text) == []
    assert [(one.start, one.end, one.label, one.rule) for one in find(text, also=("presidio",))] == [(11, 21, Label.PHONE, "presidio")]
