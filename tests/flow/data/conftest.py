"""Data sets to publish, small and real in shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headwater.core.identity import ROOT
from headwater.core.platform import Platform
from headwater.data.catalogue import describe, publishing
from headwater.data.catalogue.sets import Version

Publish = Callable[..., Version]

BUS_STOPS = "编号,站名,lat,lon,opened\n1,西直门,39.94,116.35,1984-09-20\n2,东直门,39.94,116.43,1984-09-20\n3,,39.9,116.4,\n"


def description(name: str = "bus-stops", **more: Any) -> describe.Description:
    """Return a description; `more` replaces its fields."""
    told = {
        "name": name,
        "title": {"zh": "公交站点", "en": "Bus stops"},
        "about": {"zh": "北京市公共交通站点的位置。", "en": "Where the stops of public transport are."},
        "licence": "CC-BY-4.0",
        "zone": "transport",
        "rhythm": "monthly",
        "keywords": ["公共交通", "stops"],
    }
    return describe.from_json(told | more)


def publishing_on(site: Platform, folder: Path) -> Publish:
    """Return a function that publishes a file's text under a description."""

    def publish(text: str | bytes = BUS_STOPS, *, file: str = "stops.csv", job: str | None = None, note: str = "", **more: Any) -> Version:
        source = folder / file
        source.write_bytes(text if isinstance(text, bytes) else text.encode())
        wish = publishing.Wish(description=description(**more), source=source, organisation=ROOT, actor=site.found(), job=job, note=note)
        return publishing.publish(site, wish)

    return publish


@pytest.fixture
def publish(site: Platform, tmp_path: Path) -> Publish:
    """Give a function that publishes over SQLite."""
    return publishing_on(site, tmp_path)


@pytest.fixture
def publish_anywhere(any_site: Platform, tmp_path: Path) -> Publish:
    """Give a function that publishes over each database in turn."""
    return publishing_on(any_site, tmp_path)
