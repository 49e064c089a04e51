"""Which examples a step sees depends on the seed and the step alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater.framework.training.course import Course, examples_of, in_micros, share


def course(**more: object) -> Course:
    return Course(**({"steps": 10, "batch": 4, "micro": 2, "learning_rate": 0.1} | more))  # type: ignore[arg-type]


@given(count=st.integers(1, 50), batch=st.integers(1, 40), seed=st.integers(0, 99))
def test_every_epoch_sees_every_example_once(count: int, batch: int, seed: int) -> None:
    told = course(batch=batch, seed=seed)
    steps = -(-3 * count // batch)
    seen = np.concatenate([examples_of(step, told, count) for step in range(1, steps + 1)])
    for epoch in range(3):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))


@given(count=st.integers(1, 60), ranks=st.integers(1, 9), micro=st.integers(1, 7))
def test_the_ranks_shares_are_the_whole_batch_in_order_whatever_their_number(count: int, ranks: int, micro: int) -> None:
    whole = np.arange(count)
    shares = [share(whole, rank, ranks) for rank in range(ranks)]
    assert np.concatenate(shares).tolist() == whole.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert [one for part in shares for portion in in_micros(part, micro) for one in portion] == whole.tolist()


def test_the_rate_rises_in_a_line_and_falls_by_a_cosine_to_its_least() -> None:
    told = course(steps=110, warm_up_steps=10, least_rate=0.1)
    assert [round(told.rate(step), 6) for step in (1, 5, 10, 60, 110)] == [0.01, 0.05, 0.1, 0.055, 0.01]
