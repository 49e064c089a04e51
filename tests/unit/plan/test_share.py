"""The query `share`: a percentage over the newest statement about each subject, and nothing where there is nothing to be a part of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import yaml

from headwater.core.statement import USAGE, Statement, Subject
from headwater.plan.holdings import Holdings, Valid
from headwater.plan.indicators import reading
from headwater.plan.plan import BadPlan, load, read

NOW = datetime(2026, 11, 26, tzinfo=UTC)
D12 = next(one for one in load().indicators if one.id == "D12")


def stated(site: str, domestic: float, whole: float, *, age_d: int, by: str = "buyer") -> Valid:
    said = {"account_of": by, "totals": {"domestic_accelerator_s": domestic, "accelerator_s": whole}}
    subject = Subject(name=site, digest="sha256:" + site[0] * 64)
    told = Statement(subjects=(subject,), predicate_type=USAGE, predicate=said, issued_at=NOW - timedelta(days=age_d))
    return Valid(digest=f"sha256:{site}{age_d}", statement=told)


def share(*held: Valid) -> float | None:
    newest_first = tuple(sorted(held, key=lambda one: one.statement.issued_at, reverse=True))
    return reading(D12, Holdings(valid={USAGE: newest_first}, set_aside={USAGE: 0})).value


def test_sites_count_by_their_size_and_each_once_by_its_newest_statement() -> None:
    assert share(stated("a", 50, 100, age_d=1), stated("b", 0, 300, age_d=1)) == 12.5
    assert share(stated("a", 0, 900, age_d=9), stated("a", 50, 100, age_d=1), stated("a", 0, 500, age_d=5)) == 50.0


def test_a_sites_own_account_does_not_count() -> None:
    assert share(stated("a", 50, 100, age_d=2), stated("a", 100, 100, age_d=1, by="supplier")) == 50.0


def test_without_use_there_is_no_share() -> None:
    assert share() is None
    assert share(stated("a", 0, 0, age_d=1)) is None


def test_a_share_says_what_of_and_nothing_else_does() -> None:
    told = load().model_dump(mode="json", by_alias=True)
    query = next(one["query"] for one in told["indicators"] if one["id"] == "D12")
    query["of"] = ""
    with pytest.raises(BadPlan, match="D12: The query share, and only that, says of what"):
        read(yaml.safe_dump(told))
