"""The network scales and encodes its own inputs, and learns the same thing from the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from headwater.core.errors import StepFailed
from headwater.framework.architecture import Architecture
from headwater.framework.examples import Examples
from headwater.framework.mlp import MLP, Encode, answer
from headwater.framework.train import Fitted, Schedule, fit, new_model, score_parts
from tests.unit.framework.planted import SIGNATURE, examples

SCHEDULE = Schedule(epochs=25, batch_size=64, learning_rate=0.03, weight_decay=0.01, patience=8)


def trained(seed: int = 1, schedule: Schedule = SCHEDULE, parts: tuple[Examples, Examples] | None = None) -> Fitted:
    train, valid = parts or (examples(400), examples(200, 1))
    model = new_model(SIGNATURE, Architecture(hidden=(16,), dropout=0.1), train, seed)
    return fit(model, train, valid, schedule, seed=seed, progress=lambda *_, **__: None)


def test_numbers_are_standardised_and_categories_become_one_hot_by_their_codes() -> None:
    encode = Encode(SIGNATURE)
    rows = torch.tensor([[10.0, 3, 0, 5], [30.0, 9, 1, 5]])
    encode.fit(rows)
    assert encode(rows).tolist() == [[-1, 0, 1, 0, 0, 1, 0], [1, 0, 0, 0, 1, 0, 1]]  # months is constant: 0, not a division by zero


def test_a_planted_rule_is_learnt() -> None:
    scores = score_parts(trained().model, {"test": examples(500, 2)})["test"]
    assert scores["accuracy"].value is not None
    assert scores["accuracy"].value > 0.8  # 0.9 is the most that can be had
    assert scores["auc"].value is not None
    assert scores["auc"].value > 0.85


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (trained(seed).model.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(schedule=replace(SCHEDULE, epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_the_best_epoch_is_kept_and_training_ends_when_nothing_gets_better() -> None:
    draw = np.random.default_rng(9)
    noise = Examples(rows=examples(200, 3).rows, labels=draw.integers(0, 2, 200))
    fitted = trained(schedule=replace(SCHEDULE, epochs=200, learning_rate=0.05, patience=5), parts=(noise, examples(100, 4)))
    assert fitted.epochs_run == fitted.best_epoch + 5
    loss = score_parts(fitted.model, {"valid": examples(100, 4)})["valid"]["log_loss"].value
    assert loss == pytest.approx(fitted.valid_log_loss, abs=1e-6)


def test_balanced_class_weights_raise_the_recall_of_the_rare_class() -> None:
    rows = examples(600, 5)
    rare = np.flatnonzero(rows.labels == 0)[:40]
    chosen = np.sort(np.r_[rare, np.flatnonzero(rows.labels == 1)])
    train = Examples(rows=rows.rows[chosen], labels=rows.labels[chosen])
    test = examples(500, 6)
    recall = {}
    for weights in ("none", "balanced"):
        schedule = replace(SCHEDULE, epochs=10, patience=10, class_weights=weights)
        model = trained(schedule=schedule, parts=(train, train)).model
        recall[weights] = (answer(model, test.rows).argmax(axis=1) == 0)[test.labels == 0].mean()
    assert recall["balanced"] > recall["none"]


def test_a_loss_that_is_not_finite_ends_the_training_with_its_epoch() -> None:
    rows = examples(100)
    rows.rows[:, 0] = np.inf
    with pytest.raises(StepFailed, match="The loss is nan at step 1"):
        trained(parts=(rows, rows))


def test_no_hidden_layer_is_logistic_regression() -> None:
    assert MLP(SIGNATURE, Architecture(hidden=())).layers.state_dict()["0.weight"].shape == (2, 7)
