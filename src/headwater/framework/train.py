"""Train a perceptron on the parts of a data set; the same data, settings and seed give the same weights.

Import this module only inside a function: it imports torch.
"""

from __future__ import annotations

import copy
import math
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
from headwater.framework.training import trainer
from headwater.framework.training.course import Course, Indices

Progress = Callable[..., None]
"""Hears of progress: done, of how much, words for people, and figures by name."""


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


class Tables:
    """Rows with classes as the trainer takes them; it remembers the state with the lowest log loss on valid."""

    unit = "rows"

    def __init__(self, model: MLP, train: Examples, valid: Examples, schedule: Schedule) -> None:
        self.begun, self.valid, self.patience = model, valid, schedule.patience
        self.rows, self.labels = torch.from_numpy(train.rows), torch.from_numpy(train.labels)
        self.weights = _class_weights(self.labels, len(model.signature.classes), schedule.class_weights)
        self.best_loss, self.best_epoch, self.best_state, self.epoch = float("inf"), 0, copy.deepcopy(model.state_dict()), 0

    def model(self) -> nn.Module:
        """Return the model that is trained."""
        return self.begun

    def count(self) -> int:
        """Return how many rows there are to learn from."""
        return len(self.labels)

    def loss(self, model: nn.Module, examples: Indices, device: str) -> tuple[Tensor, int]:
        """Return the summed cross-entropy, rare classes weighed up where that was asked for."""
        chosen = torch.from_numpy(examples)
        logits = model(self.rows[chosen].to(device))
        return cross_entropy(logits, self.labels[chosen].to(device), weight=self.weights, reduction="sum"), len(examples)

    def evaluate(self, model: nn.Module, device: str) -> Mapping[str, float]:
        """Return the log loss on valid, and remember the state where it is the lowest so far. Raises StepFailed if it is not finite."""
        rows, labels = torch.from_numpy(self.valid.rows).to(device), torch.from_numpy(self.valid.labels).to(device)
        loss, self.epoch = float(cross_entropy(model(rows), labels)), self.epoch + 1
        if not loss < float("inf"):
            raise StepFailed(f"The loss on valid is {loss} in epoch {self.epoch}.", "Lower the learning rate.")
        if loss < self.best_loss:
            self.best_loss, self.best_epoch, self.best_state = loss, self.epoch, copy.deepcopy(model.state_dict())
        return {"loss": loss}

    def is_over(self, _: int) -> bool:
        """Tell whether the log loss has not fallen for as long as there is patience."""
        return self.epoch - self.best_epoch >= self.patience


def fit(model: MLP, train: Examples, valid: Examples, schedule: Schedule, *, seed: int, progress: Progress) -> Fitted:
    """Train a model in place and return its best state. Raises StepFailed if the loss is not finite."""
    task = Tables(model, train, valid, schedule)
    epoch = math.ceil(task.count() / schedule.batch_size)
    course = Course(
        steps=epoch * schedule.epochs,
        batch=schedule.batch_size,
        micro=schedule.batch_size,
        learning_rate=schedule.learning_rate,
        least_rate=1.0,
        weight_decay=schedule.weight_decay,
        clip=0.0,
        evaluate_every=epoch,
        checkpoint_every=epoch * schedule.epochs,
        seed=seed,
    )

    def told(step: int, of: int, _: str, figures: Mapping[str, float]) -> None:
        if "valid_loss" in figures:
            note = f"epoch {task.epoch}, valid log loss {figures['valid_loss']:.4f}, best {task.best_loss:.4f}"
            progress(step / epoch, of / epoch, note, loss=figures["loss"], valid_loss=figures["valid_loss"])

    trainer.train(task, course, told=told, should_stop=task.is_over)
    model.load_state_dict(task.best_state)
    return Fitted(model=model.eval(), best_epoch=task.best_epoch, epochs_run=task.epoch, valid_log_loss=task.best_loss)


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
