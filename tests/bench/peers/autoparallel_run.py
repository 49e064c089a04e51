"""AutoParallel (meta-pytorch/autoparallel) on a stack of decoder layers over a fake process group: seconds to build and to solve.

    PYTHONPATH=ITS_CHECKOUT python tests/bench/peers/autoparallel_run.py LAYERS DP TP

It asks its device for its name and knows accelerators' names only; no accelerator is needed for what is timed here.
"""

from __future__ import annotations

import sys
import time

import torch
from autoparallel.api import AutoParallel
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor.placement_types import Replicate, Shard
from torch.testing._internal.distributed.fake_pg import FakeStore

WIDTH, HEADS, TOKENS, SEQUENCES = 2048, 16, 1024, 16


class Layer(nn.Module):
    """A decoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm_after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.norm(x)
        heads = [linear(normed).unflatten(-1, (HEADS, -1)).transpose(1, 2) for linear in (self.query, self.key, self.value)]
        mixed = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(-2))
        return x + self.down(nn.functional.gelu(self.up(self.norm_after(x))))


class Layers(nn.Module):
    """Some of them."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(count))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def main(layers: int, data: int, tensor: int) -> None:
    """Print the seconds to build the problem and to solve it."""
    torch.cpu.get_device_name = lambda *_: "NVIDIA H100 80GB HBM3"  # type: ignore[attr-defined]
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=data * tensor)
    mesh = init_device_mesh("cpu", (data, tensor), mesh_dim_names=("dp", "tp"))
    with torch.device("meta"):
        model = Layers(layers)
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    began = time.perf_counter()
    with AutoParallel(model, lambda: torch.rand(SEQUENCES * data, TOKENS, WIDTH), mesh, policy) as problem:
        problem.add_parameter_memory_constraint(low=None, high=None)
        problem.add_input_constraints([(Shard(0), Replicate())])
        problem.add_output_constraints([(Shard(0), Replicate())])
        built = time.perf_counter()
        problem.optimize_placement()
        print(built - began, time.perf_counter() - built)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
