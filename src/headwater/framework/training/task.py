"""What the trainer must know of a kind of model: how many examples there are, the loss of some of them, and how good it is.

Import it only inside a function: its members import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from headwater.framework.training.course import Indices


@runtime_checkable
class Task(Protocol):
    """A model, its examples, and its measure. The same on every rank."""

    unit: str
    """What throughput counts: rows, images, graphs, tokens."""

    def model(self) -> nn.Module:
        """Return the untrained model; its weights depend on the seed alone."""
        ...

    def count(self) -> int:
        """Return how many examples there are to train on."""
        ...

    def loss(self, model: nn.Module, examples: Indices, device: str) -> tuple[Tensor, int]:
        """Return the summed loss of some examples, and over how many units it is summed."""
        ...

    def evaluate(self, model: nn.Module, device: str) -> Mapping[str, float]:
        """Return the measures on what was held out; `loss` is always among them, and least is best."""
        ...
