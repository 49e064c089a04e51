"""Make a model smaller, and measure what that costs and gains before it may pass.

`int8`: weights in 8-bit integers with a scale per output, activations quantised as they come.
`prune`: whole hidden units with the least weight are taken out, then the rest is trained on.
Import this module only inside a function: it imports torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from headwater.core.errors import BadInput, GateClosed, StepFailed
from headwater.framework.mlp import MLP, Int8Linear
from headwater.framework.onnx_export import Ask
from headwater.framework.scores import HIGHER_IS_BETTER, Score

WARM_UP = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Median time of one answer to one row, in milliseconds, before and after, asked in turn `rounds` times."""

    before_ms: float
    after_ms: float
    rounds: int


def to_int8(model: MLP) -> MLP:
    """Return a copy whose linear layers hold and multiply integers."""
    _refuse_int8(model)
    made = MLP(model.signature, model.architecture.model_copy(update={"linear": "int8"}))
    made.encode.load_state_dict(model.encode.state_dict())
    made.layers = nn.ModuleList(Int8Linear.from_linear(_linear(layer)) for layer in model.layers)
    return made.eval()


def prune(model: MLP, share: float) -> MLP:
    """Return a copy without the given share of each hidden layer's units, at least one unit kept.

    A unit's importance is the product of the norms of its incoming and outgoing weights; ties keep the earlier unit.
    """
    _refuse_int8(model)
    layers = [_linear(layer) for layer in model.layers]
    kept = [_most_important(layer, after, share) for layer, after in pairwise(layers)]
    architecture = model.architecture.model_copy(update={"hidden": tuple(len(units) for units in kept)})
    made = MLP(model.signature, architecture)
    made.encode.load_state_dict(model.encode.state_dict())
    every = [torch.arange(layers[0].in_features), *kept, torch.arange(layers[-1].out_features)]
    with torch.no_grad():
        for layer, old, (inputs, outputs) in zip(made.layers, layers, pairwise(every), strict=True):
            new = _linear(layer)
            new.weight.copy_(old.weight[outputs][:, inputs])
            new.bias.copy_(old.bias[outputs])
    return made.eval()


def _most_important(layer: nn.Linear, after: nn.Linear, share: float) -> Tensor:
    importance = layer.weight.detach().norm(dim=1) * after.weight.detach().norm(dim=0)
    keep = max(1, layer.out_features - round(share * layer.out_features))
    return torch.argsort(importance, descending=True, stable=True)[:keep].sort().values


def _linear(layer: nn.Module) -> nn.Linear:
    if not isinstance(layer, nn.Linear):
        raise StepFailed(f"A layer is a {type(layer).__name__}, not a linear layer.", "Compress the model that was trained.")
    return layer


def _refuse_int8(model: MLP) -> None:
    if model.architecture.linear == "int8":
        raise BadInput("The model is already in int8.", "Compress the model that was trained.")


def loss_of(metric: str, before: Score, after: Score) -> float:
    """Return how much worse the metric became; negative where it got better. Raises StepFailed where it is not measurable."""
    if before.value is None or after.value is None:
        raise StepFailed(f"{metric} cannot be measured on valid: {before.reason or after.reason}.", "Give valid rows of each class.")
    return (before.value - after.value) * (1 if HIGHER_IS_BETTER[metric] else -1)


def refuse_over(metric: str, loss: float, largest: float, before: Score, after: Score) -> None:
    """Raise GateClosed with the figures if the loss is larger than allowed."""
    if loss > largest:
        raise GateClosed(
            f"Compression changed {metric} on valid from {before.value:.4f} to {after.value:.4f} (n = {after.n}): "
            f"a loss of {loss:.4f}, and at most {largest:.4f} is allowed.",
            "Prune less, use int8, fine-tune longer, or raise 'largest_loss'.",
            metric=metric,
            loss=loss,
            largest_loss=largest,
        )


def measure_latency(before: Ask, after: Ask, rows: npt.NDArray[np.float32], *, rounds: int, clock: Callable[[], float]) -> Latency:
    """Return the median times at batch size 1; the two models are asked in turn, so that a busy machine slows both."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(WARM_UP + rounds):
        row = rows[number % len(rows)][None]
        for ask, taken in zip((before, after), times, strict=True):
            start = clock()
            ask(row)
            if number >= WARM_UP:
                taken.append((clock() - start) * 1000)
    return Latency(before_ms=statistics.median(times[0]), after_ms=statistics.median(times[1]), rounds=rounds)
