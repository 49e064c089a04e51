"""Train a perceptron on the parts of a data set; the same data, settings and seed give the same weights.

Import this module only inside a function: it imports torch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from headwater.core.errors import StepFailed
from headwater.core.tabular import Signature
from headwater.framework.architecture import Architecture
from headwater.framework.examples import Examples
from headwater.framework.mlp import MLP, answer
from headwater.framework.scores import Score, score

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How to train: at most `epochs`, ended `patience` epochs after the lowest log loss on valid."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    class_weights: Literal["none", "balanced"] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The weights with the lowest log loss on valid, and when they were met."""

    model: MLP
    best_epoch: int
    epochs_run: int
    valid_log_loss: float


def new_model(signature: Signature, architecture: Architecture, train: Examples, seed: int) -> MLP:
    """Return an untrained model scaled to the training rows; its weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MLP(signature, architecture)
    model.encode.fit(torch.from_numpy(train.rows))
    return model


def fit(model: MLP, train: Examples, valid: Examples, schedule: Schedule, *, seed: int, progress: Progress) -> Fitted:
    """Train a model in place and return its best state. Raises StepFailed if the loss is not finite."""
    rows, labels = torch.from_numpy(train.rows), torch.from_numpy(train.labels)
    weights = _class_weights(labels, len(model.signature.classes), schedule.class_weights)
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
    best_loss, best_epoch, best_state, epoch = float("inf"), 0, copy.deepcopy(model.state_dict()), 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(1, schedule.epochs + 1):
            _one_epoch(model, optimiser, rows, labels, weights, schedule.batch_size)
            loss = _log_loss(model, valid)
            if not loss < float("inf"):
                raise StepFailed(f"The loss on valid is {loss} in epoch {epoch}.", "Lower the learning rate.")
            if loss < best_loss:
                best_loss, best_epoch, best_state = loss, epoch, copy.deepcopy(model.state_dict())
            progress(epoch, schedule.epochs, f"epoch {epoch}, valid log loss {loss:.4f}, best {best_loss:.4f}")
            if epoch - best_epoch >= schedule.patience:
                break
    model.load_state_dict(best_state)
    return Fitted(model=model.eval(), best_epoch=best_epoch, epochs_run=epoch, valid_log_loss=best_loss)


def _one_epoch(model: MLP, optimiser: torch.optim.Optimizer, rows: Tensor, labels: Tensor, weights: Tensor | None, batch_size: int) -> None:
    model.train()
    for batch in torch.split(torch.randperm(len(labels)), batch_size):
        optimiser.zero_grad()
        torch.autograd.backward(cross_entropy(model(rows[batch]), labels[batch], weight=weights))
        optimiser.step()


def _log_loss(model: nn.Module, part: Examples) -> float:
    model.eval()
    with torch.inference_mode():
        return float(cross_entropy(model(torch.from_numpy(part.rows)), torch.from_numpy(part.labels)))


def _class_weights(labels: Tensor, classes: int, kind: Literal["none", "balanced"]) -> Tensor | None:
    """Return n / (classes x count) per class for `balanced`."""
    if kind == "none":
        return None
    counts = torch.bincount(labels, minlength=classes).float()
    return counts.sum() / (classes * counts.clamp(min=1))


def score_parts(model: MLP, parts: Mapping[str, Examples]) -> dict[str, dict[str, Score]]:
    """Return the scores of a model on each part."""
    positive = model.signature.classes.index(model.signature.positive)
    return {name: score(answer(model, part.rows), part.labels, positive=positive) for name, part in parts.items()}


def as_metrics(scores: Mapping[str, Mapping[str, Score]]) -> dict[str, Any]:
    """Return scores as plain JSON."""
    return {part: {name: one.as_json() for name, one in figures.items()} for part, figures in scores.items()}


def as_figures(scores: Mapping[str, Mapping[str, Score]]) -> dict[str, float]:
    """Return the measurable scores as `part_name`, for gates; what cannot be measured is left out."""
    return {f"{part}_{name}": one.value for part, figures in scores.items() for name, one in figures.items() if one.value is not None}
