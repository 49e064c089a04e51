"""A multilayer perceptron that takes raw codes: scaling and one-hot encoding happen inside it.

Import this module only inside a function: it imports torch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from headwater.core.tabular import Column, Signature
from headwater.framework.architecture import Architecture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

LARGEST_ACTIVATION = 127
LARGEST_WEIGHT = 63
"""Seven bits: on x86 without VNNI, products of 8-bit activations and weights are summed in pairs in 16 bits
and would saturate (ONNX Runtime, "Quantize ONNX models", reduce_range)."""


def codes_of(column: Column) -> tuple[float, ...]:
    """Return the codes that a category may take in the matrix, in order."""
    return tuple(column.code(value) for value in column.values)


class Encode(nn.Module):
    """Rows of raw codes [n, columns] to standardised numbers and one-hot categories [n, width]."""

    number_at: Tensor
    code_at: Tensor
    code: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, signature: Signature) -> None:
        """Make the encoding with mean 0 and scale 1; `fit` sets them from data."""
        super().__init__()
        numbers = [place for place, column in enumerate(signature.columns) if column.type != "category"]
        codes = [(place, code) for place, column in enumerate(signature.columns) if column.type == "category" for code in codes_of(column)]
        self.register_buffer("number_at", torch.tensor(numbers, dtype=torch.int64))
        self.register_buffer("code_at", torch.tensor([place for place, _ in codes], dtype=torch.int64))
        self.register_buffer("code", torch.tensor([code for _, code in codes], dtype=torch.float32))
        self.register_buffer("mean", torch.zeros(len(numbers)))
        self.register_buffer("scale", torch.ones(len(numbers)))
        self.width = len(numbers) + len(codes)

    def fit(self, rows: Tensor) -> None:
        """Take mean and standard deviation from rows; a constant column keeps the scale 1."""
        numbers = rows[:, self.number_at].double()
        deviation = numbers.std(dim=0, unbiased=False)
        self.mean.copy_(numbers.mean(dim=0))
        self.scale.copy_(torch.where(deviation > 0, deviation, torch.ones_like(deviation)))

    def forward(self, rows: Tensor) -> Tensor:
        numbers = (rows.index_select(1, self.number_at) - self.mean) / self.scale
        one_hot = (rows.index_select(1, self.code_at) == self.code).to(rows.dtype)
        return torch.cat([numbers, one_hot], dim=1)


class Int8Linear(nn.Module):
    """A linear layer in integers: weights int8 with a scale per output, each input row quantised as it comes.

    A row's answer does not depend on the other rows of its batch.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(inputs, outputs, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs))

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Int8Linear:
        """Return the layer with its weights rounded, symmetric, to -63..63 steps of each output's largest weight."""
        made = cls(linear.in_features, linear.out_features)
        weight = linear.weight.detach()
        made.scale.copy_(weight.abs().amax(dim=1).clamp(min=1e-12) / LARGEST_WEIGHT)
        made.weight.copy_(torch.round(weight / made.scale[:, None]).T.to(torch.int8))
        made.bias.copy_(linear.bias.detach())
        return made

    def forward(self, rows: Tensor) -> Tensor:
        step = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / LARGEST_ACTIVATION
        whole = torch.round(rows / step).to(torch.int8)
        sums = torch._int_mm(whole, self.weight).to(rows.dtype)
        # Two products, not one with `step * scale`: ONNX Runtime 1.32 fuses that into MatMulIntegerToFloat,
        # which takes the first row's step for every row of a batch.
        return sums * step * self.scale + self.bias


class MLP(nn.Module):
    """Raw codes [n, columns] to logits [n, classes]."""

    def __init__(self, signature: Signature, architecture: Architecture) -> None:
        super().__init__()
        self.signature, self.architecture = signature, architecture
        self.encode = Encode(signature)
        widths = (self.encode.width, *architecture.hidden, len(signature.classes))
        layer = nn.Linear if architecture.linear == "float32" else Int8Linear
        self.layers = nn.ModuleList(layer(*pair) for pair in pairwise(widths))
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, rows: Tensor) -> Tensor:
        hidden = self.encode(rows)
        for layer in self.layers[:-1]:
            hidden = self.dropout(torch.relu(layer(hidden)))
        logits: Tensor = self.layers[-1](hidden)
        return logits


class Probabilities(nn.Module):
    """A model whose answer is the probability of each class, float32 [n, classes]: what is deployed."""

    def __init__(self, model: MLP) -> None:
        super().__init__()
        self.model = model.eval()

    def forward(self, rows: Tensor) -> Tensor:
        return torch.softmax(self.model(rows), dim=1)


def answer(model: MLP, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the probabilities of rows as float64 [n, classes]."""
    with torch.inference_mode():
        answers: npt.NDArray[np.float64] = Probabilities(model)(torch.from_numpy(rows)).double().numpy()
    return answers
