"""The console's texts: the same keys in both languages, every key that a template uses, none that nothing uses."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import headwater
from headwater.compute.jobs import State
from headwater.core.identity import ROLES
from headwater.server import language
from headwater.server.console import MENU

ROOMS = Path(headwater.__file__).parent
TEMPLATES = sorted(ROOMS.glob("*/templates/*.html"))
USED = re.compile(r"""(?<![A-Za-z0-9_])t\(\s*["']([a-z_.]+)["']\s*[,)]""")
GROUPS = re.compile(r"""(?<![A-Za-z0-9_])label\(\s*["']([a-z_]+)["']""")
BUILT = {f"menu.{entry.key}" for entry in MENU}


def test_both_languages_have_the_same_keys() -> None:
    assert set(language.catalogue("en")) == set(language.catalogue("zh"))


def test_both_languages_fill_in_the_same_names() -> None:
    def names(text: str) -> set[str | None]:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field}

    for key, text in language.catalogue("en").items():
        assert names(text) == names(language.catalogue("zh")[key]), key


def test_templates_use_known_keys_only_and_every_key_is_used() -> None:
    assert len(TEMPLATES) > 15
    texts = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES)
    used, groups, known = set(USED.findall(texts)), set(GROUPS.findall(texts)), set(language.catalogue("en"))
    assert used - known == set()
    labelled = {key for key in known if key.split(".")[0] in groups}
    assert known - used - labelled - BUILT == set()


@pytest.mark.parametrize("name", language.LANGUAGES)
def test_every_state_and_role_has_a_name(name: str) -> None:
    for group, values in (("state", State), ("role", ROLES)):
        for value in values:
            assert f"{group}.{value}" in language.catalogue(name)


def test_chinese_texts_are_chinese() -> None:
    same = {key for key, text in language.catalogue("en").items() if text == language.catalogue("zh")[key]}
    assert same == set()
