"""Policies are files of named parts; what is wrong in one is said all at once."""

from __future__ import annotations

import pytest

from headwater.compute.scheduler.policy import BadPolicy, check, load, parse, shipped_names
from headwater.core.errors import NotFound


@pytest.mark.parametrize("name", shipped_names())
def test_every_shipped_policy_loads_under_its_own_name_and_says_what_it_does(name):
    policy = load(name)
    assert policy.name == name
    assert len(policy.about) > 20
    assert policy.rules().depth >= 1


def test_all_problems_of_a_file_come_at_once():
    with pytest.raises(BadPolicy) as caught:
        parse('name = "Bad Name"\ncolour = 1\n[order]\nby = "guess"\n[backfill]\ndepth = 0\n', "p.toml")
    said = [problem.where for problem in caught.value.problems]
    assert {"p.toml: name", "p.toml: colour", "p.toml: order.by", "p.toml: backfill.depth"} <= set(said)


@pytest.mark.parametrize(
    ("parts", "where"),
    [
        ({"order": {"by": "shortest"}}, "estimates.source"),
        ({"backfill": {"kind": "easy"}}, "estimates.source"),
        ({"order": {"by": "least_attained"}}, "order.levels_unit_s"),
        ({"order": {"by": "least_attained", "levels_unit_s": [5.0, 1.0]}}, "order.levels_unit_s"),
        ({"preemption": {"when": "by_order"}, "backfill": {"kind": "easy"}, "estimates": {"source": "user"}}, "backfill.kind"),
        (
            {
                "placement": {"nodes": "consolidated"},
                "backfill": {"kind": "easy"},
                "estimates": {"source": "user"},
                "preemption": {"when": "by_priority"},
            },
            "preemption.when",
        ),
        ({"order": {"most_slowdown": 5.0}}, "order.most_slowdown"),
        ({"order": {"by": "fair_share"}, "preemption": {"when": "by_order"}}, "order.by"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(parts, where):
    with pytest.raises(BadPolicy) as caught:
        check({"name": "p"} | parts, "p.toml")
    assert where in [problem.where for problem in caught.value.problems]


def test_text_that_is_not_toml_is_refused_with_its_place():
    with pytest.raises(BadPolicy, match=r"p\.toml: not TOML"):
        parse("name = ", "p.toml")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(NotFound, match="easy"):
        load("no_such_policy")
