"""The catalogue's own cost, and its search beside SQLite's: do words of two Chinese characters come back, and how fast.

Recall is over every two-character word of the titles, each asked for in turn; a text that holds the word must come back.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, insert

from headwater.core import platform, settings
from headwater.core.platform import Platform
from headwater.data.authorisation import grants
from headwater.data.authorisation.decision import Use
from headwater.data.authorisation.signed_urls import FileAccess, check, sign
from headwater.data.catalogue import publishing, search, sets
from headwater.data.catalogue.tables import data_sets
from tests.bench import _report
from tests.bench._report import Figure
from tests.flow.data.authorisation.cases import OPERATOR, dataset_of, desk_on
from tests.flow.data.conftest import description

SETS = 2000
USES = 400
THREADS = 8
WORDS = [
    *("公共", "数据", "交通", "监测", "空气", "质量", "站点", "统计", "企业", "信用", "医疗", "教育", "规划", "环境", "地铁"),
    *("停车", "道路", "人口", "就业", "社保", "气象", "河道", "供水", "电力", "绿地", "文物", "旅游", "消防", "应急", "税务"),
]


def measure() -> Sequence[Figure]:
    """Return every figure of the catalogue."""
    with tempfile.TemporaryDirectory() as folder, platform.opened(settings.load(data_folder=Path(folder) / "data")) as site:
        site.found()
        titles = _titles()
        return [*searching(site, titles), *deciding(site, Path(folder)), *signing()]


def searching(site: Platform, titles: Sequence[str]) -> list[Figure]:
    """Index titles here and in SQLite's own full-text tables, and ask for every word."""
    began = time.perf_counter()
    site.db.write(lambda connection: _fill(connection, titles))
    index_ms = (time.perf_counter() - began) / len(titles) * 1000

    def ours(word: str) -> set[str]:
        with site.db.read() as connection:
            return {one.title["zh"] for one in search.search(connection, word, limit=len(titles)).found}

    found, took = _recall(ours, titles)
    figures = [
        Figure(name="two-character words found", value=found, unit="recall", at_least=1.0),
        Figure(name="median search, whole answers", value=took * 1000, unit="ms", note=f"{SETS} data sets"),
        Figure(name="to index a data set", value=index_ms, unit="ms"),
    ]
    for tokenizer in ("unicode61", "trigram"):
        with sqlite3.connect(":memory:") as peer:
            peer.execute(f"create virtual table t using fts5(title, tokenize='{tokenizer}')")
            peer.executemany("insert into t values (?)", [(title,) for title in titles])

            def theirs(word: str, peer: sqlite3.Connection = peer) -> set[str]:
                return {row[0] for row in peer.execute("select title from t where t match ?", (f'"{word}"',))}

            found, _ = _recall(theirs, titles)
        figures.append(Figure(name=f"the same in SQLite FTS5, {tokenizer}", value=found, unit="recall"))
    return figures


def deciding(site: Platform, folder: Path) -> list[Figure]:
    """Weigh, count and record uses of one grant from several threads at once."""
    (folder / "s.csv").write_text("n\n1\n", encoding="utf-8")
    described = description("granted", openness="authorised", licence="terms-of-grant")
    publishing.publish(site, publishing.Wish(description=described, source=folder / "s.csv", organisation="city", actor="bench"))
    dataset, today = dataset_of(site, "granted"), site.clock.now().date()
    term = {"term_from": today.isoformat(), "term_until": (today + timedelta(days=9)).isoformat()}
    grant = desk_on(site).granted(dataset, uses=USES // 2, **term)
    wanted = Use(action="read", organisation=OPERATOR, purpose="traffic_management", region="CN-BJ")
    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        allowed = sum(pool.map(lambda _: grants.use(site, grant.statement, dataset, wanted, actor="bench").allowed, range(USES)))
    rate = USES / (time.perf_counter() - began)
    return [
        Figure(name="uses allowed beyond the count", value=allowed - USES // 2, unit="uses", at_most=0, note=f"{THREADS} threads"),
        Figure(name="decisions, each in the ledger", value=rate, unit="per s", note="SQLite, synchronous=FULL"),
    ]


def signing() -> list[Figure]:
    """Time checking signed addresses."""
    now, key = datetime.now(UTC), bytes(32)
    token = sign(key, FileAccess(dataset="d", version=1, file="f", grantee="g"), now + timedelta(hours=1))
    began = time.perf_counter()
    for _ in range(2000):
        check(key, token, now)
    return [Figure(name="checks of signed addresses", value=2000 / (time.perf_counter() - began), unit="per s")]


def _titles() -> list[str]:
    drawn = random.Random(20231123)
    return sorted({"".join(drawn.sample(WORDS, 5)) for _ in range(SETS)})


def _fill(connection: Connection, titles: Sequence[str]) -> None:
    now = datetime.now(UTC)
    shown = {"organisation": "city", "licence": "CC0-1.0", "keywords": [], "openness": "open", "rhythm": "once", "contact": ""}
    for number, title in enumerate(titles):
        row = {
            "id": str(uuid.uuid4()),
            "name": f"set-{number}",
            "title": {"zh": title, "en": f"Set {number}"},
            "about": {"zh": title, "en": ""},
        }
        row |= shown | {"created_by": "bench", "created_at": now, "issued_at": now, "modified_at": now}
        connection.execute(insert(data_sets).values(**row))
        search.index(connection, sets.find(connection, str(row["id"])), None)


def _recall(ask: Callable[[str], set[str]], titles: Sequence[str]) -> tuple[float, float]:
    """Return the share of texts that came back of those that hold the word asked for, and the median time of a question."""
    came = held = 0
    times = []
    for word in WORDS:
        wanted = {title for title in titles if word in title}
        began = time.perf_counter()
        found = ask(word)
        times.append(time.perf_counter() - began)
        came += len(wanted & found)
        held += len(wanted)
    return came / held, statistics.median(times)


if __name__ == "__main__":
    _report.main("data_catalogue", measure)
