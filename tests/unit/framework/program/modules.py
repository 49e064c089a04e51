"""Modules of each kind that people freeze, and some that cannot be."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Perceptron(nn.Module):
    """Rows to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, rows: Tensor) -> Tensor:
        return self.layers(rows)


class Images(nn.Module):
    """Pictures to logits, by convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(32, 4)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(self.body(pictures))


class Graphs(nn.Module):
    """Nodes and edges to what each node becomes: one round of messages added up over incoming edges."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(5, 5), nn.Linear(10, 2)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        sent = self.message(nodes)[edges[0]]
        heard = torch.zeros_like(nodes).index_add(0, edges[1], sent)
        return self.update(torch.cat([nodes, heard], dim=1))


class Branches(nn.Module):
    """Decides by what it computes."""

    def forward(self, rows: Tensor) -> Tensor:
        total = rows.sum()
        if total > 0:  # the line that the refusal names
            return rows
        return -rows


class Counts(nn.Module):
    """Makes a tensor as large as a number that it computes."""

    def forward(self, rows: Tensor) -> Tensor:
        return torch.zeros(int(rows.sum().item()))


class Leaves(nn.Module):
    """Leaves torch."""

    def forward(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(rows.numpy() * 2)


class Fixes(nn.Module):
    """Fixes a dimension that was to change."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows.reshape(4, 6) * 2


class Divides(nn.Module):
    """Answers with numbers that are none."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows / torch.zeros_like(rows)
