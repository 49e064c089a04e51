"""How text becomes the terms of the search index. Pure.

Chinese text is cut into overlapping pairs of characters, so that a word of two characters is found
without a dictionary; a single character finds the texts where it stands anywhere.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator

LONGEST_TERM = 60
MOST_QUERY_TERMS = 64

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RUNS = re.compile(f"[{_HAN}]+|[^\\W_{_HAN}]+")


def terms(text: str) -> Iterator[str]:
    """Yield the terms of a text for the index: words in lower case, Chinese characters one by one and in pairs."""
    for run in _runs(text):
        if _is_han(run):
            yield from run
            yield from (run[place : place + 2] for place in range(len(run) - 1))
        else:
            yield from _word(run)


def query_terms(text: str) -> tuple[str, ...]:
    """Return the terms that must all be there for a text to be found: pairs for Chinese, a lone character by itself."""
    wanted: dict[str, None] = {}
    for run in _runs(text):
        if _is_han(run) and len(run) > 1:
            wanted |= dict.fromkeys(run[place : place + 2] for place in range(len(run) - 1))
        else:
            wanted |= dict.fromkeys([run] if _is_han(run) else list(_word(run))[:1])
    return tuple(wanted)[:MOST_QUERY_TERMS]


def keyword_term(keyword: str) -> str:
    """Return the term that stands for a whole keyword: a filter asks for it, words of a query never meet it."""
    plain = unicodedata.normalize("NFKC", keyword).casefold().strip()
    return "=" + (plain if len(plain) < LONGEST_TERM else hashlib.sha256(plain.encode()).hexdigest()[:40])


def _runs(text: str) -> list[str]:
    return _RUNS.findall(unicodedata.normalize("NFKC", text).casefold())


def _is_han(run: str) -> bool:
    return bool(re.match(f"[{_HAN}]", run))


def _word(run: str) -> Iterator[str]:
    """Yield a word's term, without the s of an English plural."""
    stem = run[:-1] if len(run) > 3 and run.isascii() and run.endswith("s") and not run.endswith("ss") else run
    yield stem[:LONGEST_TERM]
