"""Terms of use: what is written as ODRL is read back the same, and whatever is not understood is refused."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.data.authorisation.policy import BadPolicy, Policy, from_odrl

DATASET = "12345678-1234-1234-1234-123456789abc"
words = st.text("abcdefgh_-", min_size=1, max_size=12)
paths = st.lists(st.text("abcdef-", min_size=1, max_size=6), min_size=1, max_size=3).map("/".join)
times = st.datetimes(timezones=st.just(UTC))
policies = st.builds(
    Policy,
    uid=words.map("urn:x:{}".format),
    dataset=st.just(DATASET),
    assigner=paths,
    assignee=paths,
    actions=st.sampled_from([("read",), ("aggregate",), ("read", "aggregate")]),
    purposes=st.lists(words, unique=True, max_size=4).map(tuple),
    recipients=st.lists(paths, unique=True, max_size=3).map(tuple),
    starts_at=st.none() | times,
    ends_at=st.none() | times,
    count=st.none() | st.integers(0, 10**6),
    regions=st.lists(words, unique=True, max_size=3).map(tuple),
    fee_ceiling_fen=st.none() | st.integers(0, 10**13),
    onward_sharing=st.booleans(),
)


@given(policies)
def test_what_is_written_is_read_back_the_same(policy: Policy) -> None:
    assert from_odrl(policy.as_odrl()) == policy


def whole() -> dict[str, Any]:
    return Policy(
        uid="urn:x:1",
        dataset=DATASET,
        assigner="city",
        assignee="city/lab",
        actions=("read",),
        purposes=("research",),
        starts_at=datetime(2026, 1, 1, tzinfo=UTC),
        ends_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1),
        count=3,
        fee_ceiling_fen=1250,
    ).as_odrl()


def test_money_is_exact() -> None:
    told = whole()
    assert told["permission"][0]["duty"][0]["constraint"][0]["rightOperand"]["@value"] == "12.50"
    assert from_odrl(told).fee_ceiling_fen == 1250


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda it: it["permission"][0]["constraint"].append({"leftOperand": "weather", "operator": "eq", "rightOperand": "dry"}),
            "weather",
        ),
        (lambda it: it["permission"][0]["constraint"][0].update(operator="isNoneOf"), "operator"),
        (lambda it: it["permission"][0]["constraint"].append(it["permission"][0]["constraint"][0]), "stands 2 times"),
        (lambda it: it["permission"][0].update(action="modify"), "action"),
        (lambda it: it["permission"][0].update(action=[]), "action"),
        (lambda it: it["permission"].append(it["permission"][0]), "permission"),
        (lambda it: it.update(obligation=[]), "obligation"),
        (lambda it: it.update({"@type": "Offer"}), "Agreement"),
        (lambda it: it["prohibition"][0].update(target="urn:headwater:data-set:" + "0" * 36), "another data set"),
        (lambda it: it["prohibition"][0].update(action="use"), "distribute"),
        (lambda it: it["permission"][0]["constraint"][1]["rightOperand"].update({"@value": "2026-01-01"}), "not a time with a zone"),
        (lambda it: it["permission"][0]["duty"][0]["constraint"][0].update(unit="USD"), "unit"),
        (lambda it: it["permission"][0]["duty"][0]["constraint"][0]["rightOperand"].update({"@value": "1.005"}), "value"),
        (lambda it: it["permission"][0]["constraint"][-1].update(rightOperand="3"), "rightOperand"),
        (lambda it: it["permission"][0]["constraint"][-1].update(rightOperand=-1), "rightOperand"),
    ],
)
def test_whatever_is_not_understood_is_refused_and_named(change: Any, said: str) -> None:
    told = deepcopy(whole())
    change(told)
    with pytest.raises(BadPolicy, match=said):
        from_odrl(told)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda x: st.lists(x) | st.dictionaries(st.text(max_size=8), x)
    )
)
def test_no_json_value_is_anything_but_read_or_refused(value: Any) -> None:
    with pytest.raises(BadPolicy):
        from_odrl(value)
