"""Zones and licences are data: a file in the data folder adds more, and a wrong one is told by place."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.core.errors import BadFile, BadInput
from headwater.data.catalogue.vocabulary import Vocabulary

HEALTH = """schema = "headwater.zones/1"
[health]
title = {zh = "医疗专区", en = "Health zone"}
about = {zh = "医疗数据", en = "Health data"}
purposes = ["research"]
regions = ["CN-BJ"]
longest_days = 90
largest_count = 100
"""


def test_the_zones_that_the_issue_names_come_with_headwater() -> None:
    assert {"finance", "transport", "spatial"} <= set(Vocabulary().zones)
    assert all(not zone.onward_sharing for zone in Vocabulary().zones.values())


def test_a_file_in_the_data_folder_adds_a_zone(tmp_path: Path) -> None:
    (tmp_path / "zones.toml").write_text(HEALTH, encoding="utf-8")
    zones = Vocabulary(tmp_path).zones
    assert (zones["health"].longest_days, "finance" in zones) == (90, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEALTH.replace("longest_days = 90", "longest_days = 0"), "health.longest_days"),
        (HEALTH.replace('purposes = ["research"]', ""), "health.purposes"),
        (HEALTH + "more = 1\n", "health.more"),
        (HEALTH.replace("zones/1", "zones/2"), "headwater.zones/1"),
        ("[health", "cannot be read"),
    ],
)
def test_a_wrong_file_is_told_by_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "zones.toml").write_text(text, encoding="utf-8")
    with pytest.raises((BadFile, BadInput), match=said):
        _ = Vocabulary(tmp_path).zones


def test_an_unknown_name_lists_what_is_known() -> None:
    with pytest.raises(BadInput, match=r"no licence 'WTFPL'. Known: CC0-1.0, CC-BY-4.0"):
        Vocabulary().licence("WTFPL")
