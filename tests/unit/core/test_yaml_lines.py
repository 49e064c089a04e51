"""YAML with lines: strict, bounded, and each problem has its place."""

from __future__ import annotations

import pytest

from headwater.core import yaml_lines
from headwater.core.errors import BadFile


def test_each_key_and_item_knows_its_line() -> None:
    located = yaml_lines.load("a: 1\nb:\n  - x\n  - y: 2\n", "f.yaml", "file")
    assert located.value == {"a": 1, "b": ["x", {"y": 2}]}
    assert located.line(("b", 1, "y")) == 4
    assert located.line(("b", 1, "z", "deeper")) == 4  # the nearest part that stands in the file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2", r"f.yaml:2.*not YAML"),
        ("a: 1\na: 2", r"f.yaml:2: 'a' stands here twice"),
        ("a: &x 1\nb: *x", r"f.yaml:1.*anchors, aliases and tags"),
        ("a: !!python/object:os.system x", "anchors, aliases and tags"),
        ("a: \x00", "not YAML"),
        ("x" * (1 << 21), "larger than 1048576 bytes"),
        ("[" * 60 + "]" * 60, "Nested deeper than 20 levels"),
    ],
)
def test_what_hides_mistakes_or_could_do_harm_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(BadFile, match=said):
        yaml_lines.load(text, "f.yaml", "file")


def test_a_date_stays_text() -> None:
    assert yaml_lines.load("day: 2026-11-23", "f", "file").value == {"day": "2026-11-23"}
