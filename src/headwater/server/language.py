"""The console's texts in each language, and which language a request is answered in.

Texts live in `i18n/<language>.toml`, one catalogue per language with the same keys.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "i18n"
COOKIE = "headwater_language"
LANGUAGES = {"en": "English", "zh": "中文"}
TAGS = {"en": "en", "zh": "zh-Hans"}


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Return a language's texts by dotted key."""
    with (FOLDER / f"{language}.toml").open("rb") as file:
        return dict(_flat(tomllib.load(file), ""))


def text(language: str, key: str, values: Mapping[str, Any]) -> str:
    """Return the text of a key, with its `{names}` filled in. Raises KeyError for an unknown key."""
    return catalogue(language)[key].format_map(values)


def label(language: str, group: str, value: str) -> str:
    """Return a value's name in a group of texts (`state.running`), or the value itself where it has none."""
    return catalogue(language).get(f"{group}.{value}", value)


def choose(asked: str | None, remembered: str | None, accepts: str) -> str:
    """Return the language to answer in: the one asked for, else the one remembered, else the browser's first that we have."""
    for language in (asked, remembered):
        if language in LANGUAGES:
            return str(language)
    return next((language for language in _preferred(accepts) if language in LANGUAGES), "en")


def of(told: Mapping[str, str] | str | None, language: str) -> str:
    """Return the text of a bilingual title, in another language where this one is missing."""
    if told is None or isinstance(told, str):
        return told or ""
    return told.get(language) or told.get("en") or next(iter(told.values()), "")


def _preferred(accepts: str) -> list[str]:
    weighed = []
    for position, part in enumerate(accepts[:500].split(",")):
        tag, _, quality = part.partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        weighed.append((-weight, position, tag.strip().lower().split("-")[0]))
    return [language for _, _, language in sorted(weighed)]


def _flat(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, str]]:
    flat: list[tuple[str, str]] = []
    for key, value in tree.items():
        flat += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, str(value))]
    return flat
