"""Limits of tokens: less than their person may do, never more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import Refused
from headwater.core.identity import ROLES, Actor, Grant, Permission, decide
from headwater.core.limit import NO_LIMIT, Limit, covers, narrowed

PLACES = st.sampled_from(["city", "city/a", "city/a/lab", "city/b"])
LIMITS = st.builds(
    lambda permissions, organisation: Limit(permissions=permissions, organisation=organisation),
    st.none() | st.frozensets(st.sampled_from([str(one) for one in Permission])),
    st.none() | PLACES,
)


def someone(role: str, scope: str, limit: Limit = NO_LIMIT) -> Actor:
    return Actor(id="p", name="Lin", organisation=scope, grants=(Grant(role=role, scope=scope),), limit=limit)


@given(st.sampled_from(sorted(ROLES)), PLACES, LIMITS, st.sampled_from(sorted(Permission)), PLACES)
def test_a_limited_token_may_exactly_what_both_its_person_and_its_limit_allow(
    role: str, scope: str, limit: Limit, permission: Permission, place: str
) -> None:
    whole, limited = someone(role, scope), someone(role, scope, limit)
    assert decide(limited, permission, place).allowed == (decide(whole, permission, place).allowed and limit.allows(permission, place))
    assert any(covers(one, place) for one in limited.scopes(permission)) == decide(limited, permission, place).allowed


@given(LIMITS, LIMITS, st.sampled_from(sorted(Permission)), PLACES)
def test_a_token_made_with_a_limited_one_never_reaches_further(held: Limit, asked: Limit, permission: Permission, place: str) -> None:
    try:
        made = narrowed(held, asked)
    except Refused:
        return
    assert not made.allows(permission, place) or (held.allows(permission, place) and asked.allows(permission, place))


def test_a_refusal_says_that_it_is_the_tokens_limit() -> None:
    reader = someone("admin", "city", Limit(permissions=frozenset({"compute.read"}), organisation="city/a"))
    told = decide(reader, Permission.COMPUTE_READ, "city/b").because
    assert told == "this token may not compute.read in city/b: it is limited to compute.read in city/a"
    with pytest.raises(Refused, match="Your own token is limited to compute.read in city/a"):
        narrowed(reader.limit, Limit(organisation="city/b"))
