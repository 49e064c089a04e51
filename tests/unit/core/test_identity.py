"""Permissions: who may do what, and where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import Refused
from headwater.core.identity import ROLES, Actor, Grant, Permission, covers, decide, require


def someone(role: str, scope: str) -> Actor:
    return Actor(id="p", name="Lin", organisation=scope, grants=(Grant(role=role, scope=scope),))


def test_a_role_reaches_its_own_branch_of_the_city_and_no_other() -> None:
    developer = someone("developer", "city/haidian")
    assert decide(developer, Permission.PROJECTS_RUN, "city/haidian/lab").allowed
    assert not decide(developer, Permission.PROJECTS_RUN, "city").allowed
    assert not decide(developer, Permission.PROJECTS_RUN, "city/haidian-east").allowed


def test_a_refusal_says_who_could() -> None:
    with pytest.raises(Refused, match="Lin may not identity.manage in city; roles that may: admin"):
        require(someone("viewer", "city"), Permission.IDENTITY_MANAGE, "city")


def test_the_one_who_trains_can_neither_decide_a_filing_nor_revoke_a_grade() -> None:
    assert not ROLES["developer"] & {Permission.CASES_DECIDE, Permission.STATEMENTS_REVOKE, Permission.IDENTITY_MANAGE}


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
def test_a_scope_covers_exactly_the_paths_that_begin_with_its_parts(scope: list[str], path: list[str]) -> None:
    assert covers("/".join(scope), "/".join(path)) == (path[: len(scope)] == scope)
