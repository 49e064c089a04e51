"""Compression is measured before it may pass; int8 computes in integers and row by row."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch

from headwater.core.errors import BadInput, GateClosed, StepFailed
from headwater.framework.architecture import Architecture
from headwater.framework.compress import loss_of, measure_latency, prune, refuse_over, to_int8
from headwater.framework.mlp import LARGEST_WEIGHT, MLP, Int8Linear, answer
from headwater.framework.onnx_export import Ask
from headwater.framework.scores import Score
from headwater.framework.train import new_model
from tests.unit.framework.planted import SIGNATURE, examples


def model(*hidden: int) -> MLP:
    return new_model(SIGNATURE, Architecture(hidden=hidden), examples(300), seed=3).eval()


def linear(one: MLP, place: int) -> torch.nn.Linear:
    layer = one.layers[place]
    assert isinstance(layer, torch.nn.Linear)
    return layer


def test_int8_weights_are_whole_within_seven_bits_and_close_to_the_originals() -> None:
    linear = torch.nn.Linear(20, 9)
    small = Int8Linear.from_linear(linear)
    assert small.weight.dtype == torch.int8
    assert int(small.weight.abs().max()) == LARGEST_WEIGHT
    back = small.weight.float() * small.scale
    assert torch.all((back.T - linear.weight).abs() <= small.scale[:, None] / 2 + 1e-7)


def test_int8_products_are_those_of_exact_integers() -> None:
    small = Int8Linear.from_linear(torch.nn.Linear(64, 5))
    rows = torch.randn(10, 64)
    step = rows.abs().amax(dim=1, keepdim=True) / 127
    exact = torch.round(rows / step).to(torch.int64) @ small.weight.to(torch.int64)
    assert torch.equal(small(rows), exact.float() * step * small.scale + small.bias)


def test_an_int8_answer_does_not_depend_on_the_other_rows_of_its_batch() -> None:
    small, rows = to_int8(model(16, 8)), examples(50, 7).rows
    rows[0, 0] = 1e6  # an outlier must not coarsen the others
    alone = np.concatenate([answer(small, row[None]) for row in rows])
    np.testing.assert_allclose(answer(small, rows), alone, rtol=0, atol=1e-7)


def test_int8_answers_stay_near_the_originals() -> None:
    big, rows = model(16, 8), examples(200, 8).rows
    assert np.abs(answer(to_int8(big), rows) - answer(big, rows)).max() < 0.02


def test_pruning_takes_out_the_share_of_units_that_matter_least() -> None:
    big = model(10, 4)
    with torch.no_grad():
        for dead in (2, 5, 6, 8, 9):
            linear(big, 1).weight[:, dead] = 0  # nothing listens to these five
    rows = examples(60, 9).rows
    small = prune(big, 0.5)
    assert small.architecture.hidden == (5, 2)
    assert torch.equal(linear(small, 0).weight, linear(big, 0).weight[[0, 1, 3, 4, 7]])
    only_first = prune(model(10), 0.95)
    assert only_first.architecture.hidden == (1,)  # one unit is always left
    assert answer(small, rows).shape == (60, 2)


def test_units_without_effect_can_be_pruned_without_any_change() -> None:
    big = model(8)
    with torch.no_grad():
        linear(big, 1).weight[:, [0, 3, 4, 6]] = 0
    rows = examples(60, 9).rows
    np.testing.assert_allclose(answer(prune(big, 0.5), rows), answer(big, rows), atol=1e-6)


def test_an_int8_model_is_not_compressed_again() -> None:
    for again in (to_int8, lambda one: prune(one, 0.5)):
        with pytest.raises(BadInput, match="already in int8"):
            again(to_int8(model(8)))


@pytest.mark.parametrize(
    ("metric", "before", "after", "loss"), [("auc", 0.8, 0.75, 0.05), ("log_loss", 0.5, 0.6, 0.1), ("accuracy", 0.7, 0.72, -0.02)]
)
def test_loss_is_how_much_worse_the_metric_got(metric: str, before: float, after: float, loss: float) -> None:
    assert loss_of(metric, Score(value=before, n=9), Score(value=after, n=9)) == pytest.approx(loss)


def test_a_loss_over_the_limit_closes_the_gate_with_the_figures() -> None:
    pair = Score(value=0.8, n=100), Score(value=0.75, n=100)
    with pytest.raises(GateClosed, match=r"auc on valid from 0\.8000 to 0\.7500 \(n = 100\): a loss of 0\.0500, and at most 0\.0100"):
        refuse_over("auc", 0.05, 0.01, *pair)
    refuse_over("auc", 0.05, 0.05, *pair)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(StepFailed, match="auc cannot be measured on valid: 0 of 5 rows are positive"):
        loss_of("auc", Score(value=None, n=5, reason="0 of 5 rows are positive"), Score(value=0.5, n=5))


def test_latency_is_the_median_of_answers_asked_in_turn() -> None:
    asked: list[str] = []
    now = itertools.accumulate(itertools.cycle([0.0, 0.002, 0.0, 0.003]))  # each start is free, then 2 ms and 3 ms

    def asks(name: str) -> Ask:
        def ask(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
            asked.append(f"{name}{len(rows)}")
            return np.zeros((1, 2))

        return ask

    latency = measure_latency(asks("a"), asks("b"), examples(7).rows, rounds=11, clock=lambda: next(now))
    assert asked[:4] == ["a1", "b1", "a1", "b1"]
    assert latency.before_ms == pytest.approx(2)
    assert latency.after_ms == pytest.approx(3)
    assert latency.rounds == 11
