"""The operators that the conformance suite runs: what training and serving of the recipes' models need of a chip.

Each takes `make(*shape)`, which gives a tensor of seeded numbers in the format and on the device under test, and returns a tensor.
The reference is the same function on the processor in fp64, given the same numbers already rounded to the format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Make = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator: how to call it, on which kinds of numbers, and whether its gradient is held against the reference too."""

    name: str
    run: Callable[[Any, Make], Any]
    kinds: tuple[str, ...] = ("float",)
    gradient: bool = False


def _attention(torch: Any, make: Make, *, causal: bool) -> Any:
    query, key, value = make(2, 4, 32, 16), make(2, 4, 32, 16), make(2, 4, 32, 16)
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=causal)


def _grouped_attention(torch: Any, make: Make) -> Any:
    return torch.nn.functional.scaled_dot_product_attention(make(2, 8, 32, 16), make(2, 2, 32, 16), make(2, 2, 32, 16), enable_gqa=True)


def _cross_entropy(torch: Any, make: Make) -> Any:
    logits = make(32, 64)
    return torch.nn.functional.cross_entropy(logits, torch.arange(32, device=logits.device) % 64)


def _embedding(torch: Any, make: Make) -> Any:
    table = make(64, 32)
    return torch.nn.functional.embedding(torch.arange(48, device=table.device) % 64, table)


def _scatter(torch: Any, make: Make) -> Any:
    given = make(32, 16)
    index = (torch.arange(32, device=given.device) * 7 % 10).unsqueeze(1).expand(32, 16)
    return torch.zeros(10, 16, dtype=given.dtype, device=given.device).scatter_add(0, index, given)


def _index_add(torch: Any, make: Make) -> Any:
    given = make(32, 16)
    return torch.zeros(10, 16, dtype=given.dtype, device=given.device).index_add(0, torch.arange(32, device=given.device) % 10, given)


def _gather(torch: Any, make: Make) -> Any:
    given = make(32, 16)
    return given.gather(1, (torch.arange(16, device=given.device) * 5 % 16).expand(32, 16))


def _masked_fill(torch: Any, make: Make) -> Any:
    given = make(16, 16)
    return given.masked_fill(torch.eye(16, device=given.device) > 0, 0)


def _batch_norm(torch: Any, make: Make) -> Any:
    given = make(8, 4, 6, 6)
    return torch.nn.functional.batch_norm(given, None, None, training=True)


def _adamw(torch: Any, make: Make) -> Any:
    weight = torch.nn.Parameter(make(16, 16))
    weight.grad = make(16, 16)
    torch.optim.AdamW([weight], lr=0.1).step()
    return weight.detach()


OPERATORS: tuple[Operator, ...] = (
    Operator(name="matmul", run=lambda _, make: make(48, 64) @ make(64, 32), gradient=True),
    Operator(name="bmm", run=lambda t, make: t.bmm(make(4, 24, 32), make(4, 32, 16)), gradient=True),
    Operator(name="linear", run=lambda t, make: t.nn.functional.linear(make(24, 32), make(16, 32), make(16)), gradient=True),
    Operator(name="conv1d", run=lambda t, make: t.nn.functional.conv1d(make(2, 4, 32), make(6, 4, 3), padding=1), gradient=True),
    Operator(name="conv2d", run=lambda t, make: t.nn.functional.conv2d(make(2, 3, 16, 16), make(8, 3, 3, 3), padding=1), gradient=True),
    Operator(name="attention", run=lambda t, make: _attention(t, make, causal=False), gradient=True),
    Operator(name="causal attention", run=lambda t, make: _attention(t, make, causal=True), gradient=True),
    Operator(name="grouped attention", run=_grouped_attention, gradient=True),
    Operator(name="embedding", run=_embedding, gradient=True),
    Operator(name="layer norm", run=lambda t, make: t.nn.functional.layer_norm(make(16, 32), (32,), make(32), make(32)), gradient=True),
    Operator(name="rms norm", run=lambda t, make: t.nn.functional.rms_norm(make(16, 32), (32,), make(32)), gradient=True),
    Operator(name="batch norm", run=_batch_norm, gradient=True),
    Operator(name="softmax", run=lambda t, make: t.softmax(make(16, 32), -1), gradient=True),
    Operator(name="log softmax", run=lambda t, make: t.log_softmax(make(16, 32), -1), gradient=True),
    Operator(name="cross entropy", run=_cross_entropy, gradient=True),
    Operator(name="gelu", run=lambda t, make: t.nn.functional.gelu(make(32, 32)), gradient=True),
    Operator(name="silu", run=lambda t, make: t.nn.functional.silu(make(32, 32)), gradient=True),
    Operator(name="relu", run=lambda t, make: t.relu(make(32, 32)), gradient=True),
    Operator(name="sigmoid", run=lambda t, make: t.sigmoid(make(32, 32)), gradient=True),
    Operator(name="exp", run=lambda t, make: t.exp(make(32, 32))),
    Operator(name="log", run=lambda t, make: t.log(make(32, 32).abs() + 1)),
    Operator(name="sqrt", run=lambda t, make: t.sqrt(make(32, 32).abs())),
    Operator(name="rsqrt", run=lambda t, make: t.rsqrt(make(32, 32).abs() + 1)),
    Operator(name="sin and cos", run=lambda t, make: t.sin(make(32, 32)) + t.cos(make(32, 32))),
    Operator(name="erf", run=lambda t, make: t.erf(make(32, 32))),
    Operator(name="add", run=lambda _, make: make(32, 32) + make(32, 32), kinds=("float", "int")),
    Operator(name="multiply", run=lambda _, make: make(32, 32) * make(32, 32), kinds=("float", "int")),
    Operator(name="compare and choose", run=lambda t, make: t.where(make(32, 32) > 0, make(32, 32), make(32, 32)), kinds=("float", "int")),
    Operator(name="clamp", run=lambda _, make: make(32, 32).clamp(-1, 1), kinds=("float", "int")),
    Operator(name="sum", run=lambda _, make: make(32, 32).sum(-1), kinds=("float", "int")),
    Operator(name="mean", run=lambda _, make: make(32, 32).mean(0)),
    Operator(name="variance", run=lambda _, make: make(32, 32).var(-1)),
    Operator(name="largest", run=lambda _, make: make(32, 32).max(-1).values, kinds=("float", "int")),
    Operator(name="cumulative sum", run=lambda _, make: make(16, 16).cumsum(-1), kinds=("float", "int")),
    Operator(name="sort", run=lambda _, make: make(32, 32).sort(-1).values, kinds=("float", "int")),
    Operator(name="top k", run=lambda _, make: make(32, 32).topk(5, -1).values, kinds=("float", "int")),
    Operator(name="gather", run=_gather, kinds=("float", "int"), gradient=True),
    Operator(name="scatter add", run=_scatter, kinds=("float", "int"), gradient=True),
    Operator(name="index add", run=_index_add, kinds=("float", "int"), gradient=True),
    Operator(name="masked fill", run=_masked_fill, kinds=("float", "int")),
    Operator(name="concatenate", run=lambda t, make: t.cat([make(8, 16), make(4, 16)]), kinds=("float", "int")),
    Operator(name="transpose and copy", run=lambda _, make: make(8, 16).transpose(0, 1).contiguous(), kinds=("float", "int")),
    Operator(name="max pool", run=lambda t, make: t.nn.functional.max_pool2d(make(2, 3, 8, 8), 2), gradient=True),
    Operator(name="average pool", run=lambda t, make: t.nn.functional.adaptive_avg_pool2d(make(2, 3, 8, 8), 2), gradient=True),
    Operator(name="interpolate", run=lambda t, make: t.nn.functional.interpolate(make(2, 3, 8, 8), scale_factor=2.0, mode="nearest")),
    Operator(name="AdamW step", run=_adamw),
)
