"""The yearly disclosure as one page that stands by itself: Chinese with English, no script, nothing fetched. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def render(told: Mapping[str, Any]) -> str:
    """Return the page of a report by `disclosure.report`: the same report gives the same bytes."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["yuan"] = _yuan
    text = files("headwater.data.authorisation").joinpath("disclosure.html").read_text(encoding="utf-8")
    return environment.from_string(text).render(told=told) + "\n"


def _yuan(fen: int | None) -> str:
    return "未设 / none" if fen is None else f"{fen // 100:,}.{fen % 100:02d} 元 / CNY"
