"""Full-text search over titles, keywords, descriptions and columns, in Chinese and English.

An index of terms in the database itself, kept in the transaction that changes a data set: it gives
the same answers in the same order on SQLite and on PostgreSQL, and needs no extension of either.
`terms.py` says how text is cut.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from sqlalchemy import Connection, case, delete, func, insert, select

from headwater.data.catalogue.sets import PUBLISHED, DataSet, Filters, Page, Version, dataset_of, filtered
from headwater.data.catalogue.tables import data_sets, data_terms
from headwater.data.catalogue.terms import keyword_term, query_terms, terms

TITLE, KEYWORD, COLUMN, ABOUT = 8, 6, 2, 1
"""How much a term counts by where it stands."""
LARGEST_WEIGHT = 100


def index(connection: Connection, dataset: DataSet, version: Version | None) -> None:
    """Write a data set's terms anew, in the caller's transaction."""
    weights = weights_of(dataset, version)
    connection.execute(delete(data_terms).where(data_terms.c.dataset == dataset.id))
    connection.execute(insert(data_terms), [{"term": term, "dataset": dataset.id, "weight": weight} for term, weight in weights.items()])


def weights_of(dataset: DataSet, version: Version | None) -> Mapping[str, int]:
    """Return how much each term says about a data set. Pure."""
    parts = [(TITLE, text) for text in (*dataset.title.values(), dataset.name)]
    parts += [(KEYWORD, word) for word in dataset.keywords]
    parts += [(ABOUT, text) for text in dataset.about.values()]
    for column in version.columns if version else ():
        parts += [(COLUMN, text) for text in (column.name, *column.about.values())]
    weights: Counter[str] = Counter()
    for weight, text in parts:
        for term in terms(text):
            weights[term] += weight
    weights |= Counter({keyword_term(word): 1 for word in dataset.keywords})
    return {term: min(weight, LARGEST_WEIGHT) for term, weight in weights.items()}


def search(connection: Connection, text: str, filters: Filters = PUBLISHED, *, start: int = 0, limit: int = 20) -> Page:
    """Return the data sets in which every term of the text stands, those of which it says most first; all of them for an empty text."""
    wanted = query_terms(text)
    if not wanted:
        if text.strip():
            return Page(total=0, found=())
        query = filtered(select(data_sets), filters).order_by(data_sets.c.modified_at.desc(), data_sets.c.name)
        total = connection.execute(filtered(select(func.count()).select_from(data_sets), filters)).scalar_one()
        return Page(total=total, found=tuple(dataset_of(row) for row in connection.execute(query.offset(start).limit(limit))))
    rarity = _rarity(connection, wanted)
    score = func.sum(data_terms.c.weight * case(rarity, value=data_terms.c.term, else_=0)).label("score")
    hits = (
        select(data_terms.c.dataset, score)
        .where(data_terms.c.term.in_(wanted))
        .group_by(data_terms.c.dataset)
        .having(func.count() == len(wanted))
        .subquery()
    )
    matching = filtered(select(data_sets).join(hits, hits.c.dataset == data_sets.c.id), filters)
    total = connection.execute(select(func.count()).select_from(matching.subquery())).scalar_one()
    ordered = matching.order_by(hits.c.score.desc(), data_sets.c.name).offset(start).limit(limit)
    return Page(total=total, found=tuple(dataset_of(row) for row in connection.execute(ordered)))


def _rarity(connection: Connection, wanted: tuple[str, ...]) -> dict[str, int]:
    """Return each term's inverse document frequency in thousandths: whole numbers add up alike on both databases."""
    count = max(connection.execute(select(func.count()).select_from(data_sets)).scalar_one(), 1)
    rows = connection.execute(select(data_terms.c.term, func.count()).where(data_terms.c.term.in_(wanted)).group_by(data_terms.c.term))
    return {term: round(1000 * math.log(1 + count / held)) for term, held in rows} | {"": 0}
