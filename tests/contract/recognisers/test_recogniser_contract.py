"""What every recogniser keeps, ours and a third party's: it names a known label, and finds only what lies in the text.

Third parties run it over theirs: install the package, then `pytest tests/contract/recognisers`.
"""

from __future__ import annotations

import time

import pytest

from headwater.core.errors import Unavailable
from headwater.data.privacy.recogniser import ALL, RECOGNISERS, Anchor, Recogniser

TEXTS = (
    "",
    "\0",
    "\ud800",
    "字",
    "联系人：张伟，13800001234，a.b@example.cn，京A12345，E12345678，192.0.2.1，fe80::1",
    "申请人11010519491231002X住在成都市武侯区天府大道北段953号B座16层，卡6217005200049767192，91350100M000100Y43",
    "Emily Chen, 12 King Road, Leeds LS1 4AP, SSN 219-09-9999, +1 650 555 0109, 010-80001234",
)
HOSTILE = ("1", "1 ", "张", "路1号", "A1234567", "a@", "::", "1.", "Street ", "James ")


@pytest.fixture(params=RECOGNISERS.names())
def recogniser(request: pytest.FixtureRequest) -> Recogniser:
    """Give each recogniser that is installed."""
    found = RECOGNISERS.get(request.param)
    try:
        list(found.look("x", 0, 1))
    except Unavailable as error:
        pytest.skip(str(error))
    return found


def test_it_names_a_known_label_and_the_anchors_it_wants(recogniser: Recogniser) -> None:
    assert recogniser.label in ALL
    assert recogniser.anchors
    assert all(isinstance(anchor, Anchor) for anchor in recogniser.anchors)


@pytest.mark.parametrize("text", TEXTS)
def test_wherever_it_is_asked_to_look_it_finds_only_what_lies_in_the_text(recogniser: Recogniser, text: str) -> None:
    for start in range(len(text)):
        for end in {start + 1, min(len(text), start + 11), len(text)}:
            for span in recogniser.look(text, start, end):
                assert 0 <= span.start < span.end <= len(text)
                assert span.label in ALL
                assert 0 < span.score <= 1


@pytest.mark.parametrize("piece", HOSTILE)
def test_one_look_at_a_hostile_text_ends_soon(recogniser: Recogniser, piece: str) -> None:
    text = piece * 2000
    began = time.process_time()
    for start in range(200):
        list(recogniser.look(text, start, start + 1))
        if recogniser.anchors == (Anchor.TEXT,):
            break
    assert time.process_time() - began < 5
