"""The kernels decide the same, compiled or interpreted: there is one source."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.compute.scheduler.compiled import interpreted
from headwater.compute.scheduler.decide import decide
from headwater.compute.scheduler.policy import load, shipped_names
from headwater.compute.scheduler.shapes import QueueShape, Request, SiteShape

SITES = (
    SiteShape(name="east", node_units=(4, 4), fen_per_unit_h=(300.0,), kgco2_per_unit_h=(0.2,)),
    SiteShape(name="west", node_units=(2,), score=0.5, fen_per_unit_h=(100.0,), kgco2_per_unit_h=(0.4,)),
)
QUEUES = (QueueShape(name="a", quota=5), QueueShape(name="b", weight=2.0), QueueShape(name="c", parent="b", quota=2))

waiting = st.builds(
    lambda submit, units, estimate, kind, queue, priority, attained: {
        "submit_s": submit, "units": units, "estimate_s": estimate, "kind": kind, "queue": queue, "priority": priority,
        "attained_s": attained, "starts": int(attained > 0),
    },
    st.floats(0, 1000), st.integers(1, 5), st.none() | st.floats(1, 1e4), st.sampled_from("xy"), st.sampled_from([None, "a", "b", "c"]),
    st.floats(0, 5), st.sampled_from([0.0, 30.0, 700.0]),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(waiting, max_size=12), st.integers(0, 2), st.sampled_from(shipped_names()))
def test_a_policy_decides_the_same_either_way(asked: list[dict[str, object]], running: int, policy: str) -> None:
    told = [Request(name=f"j{row}", **one) for row, one in enumerate(asked)]  # type: ignore[arg-type]
    held = [
        Request(name=f"r{row}", submit_s=0.0, units=2, site="east", started_s=5.0, attained_s=900.0, starts=1) for row in range(running)
    ]
    requests = sorted([*held, *told], key=lambda one: one.submit_s)
    rules = load(policy)
    compiled_plan = decide(requests, SITES, rules, 1000.0, QUEUES)
    with interpreted():
        assert decide(requests, SITES, rules, 1000.0, QUEUES) == compiled_plan
