"""Families of plans on four processes and on eight, and what they train."""

from __future__ import annotations

import torch
from torch import nn

from headwater.framework.parallel.plan import Plan, Stage
from headwater.framework.parallel.verify import Case
from tests.flow.framework.test_describe import Decoder

LAYERS = 4


def cross_entropy(answer: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the mean over all tokens."""
    return nn.functional.cross_entropy(answer.flatten(0, 1), wanted.flatten())


def decoder() -> Case:
    """Return a small decoder with grouped queries and a gate, and eight sequences."""
    torch.manual_seed(7)
    model = Decoder([(LAYERS, 192)], 64, 8, 4, 96)
    return Case(model=model, inputs=torch.randint(0, 96, (8, 16)), targets=torch.randint(0, 96, (8, 16)), loss=cross_entropy)


def plan(
    *, tp: int = 1, pp: int = 1, dp: int = 1, zero: int = 0, mb: int = 1, again: int = 0, layers: tuple[int, ...] = (), vp: int = 1
) -> Plan:
    """Return a plan of the decoder; `again` layers of every stage are recomputed."""
    counts = layers or (LAYERS // pp,) * pp
    stages = tuple(Stage(layers=count, recomputed=min(again, count)) for count in counts)
    return Plan(tp=tp, pp=pp, vp=vp, dp=dp, zero=zero, micro_batch=mb, global_batch=8, stages=stages)


FOUR = (
    plan(tp=4),
    plan(dp=4),
    plan(dp=4, zero=2),
    plan(dp=4, zero=3),
    plan(dp=4, zero=3, again=2, mb=2),
    plan(tp=2, dp=2),
    plan(tp=2, dp=2, zero=3, mb=2),
    plan(tp=2, dp=2, zero=2, again=1),
    plan(pp=4, mb=2),
    plan(pp=2, dp=2, zero=3),
    plan(pp=2, tp=2, mb=2, again=2),
    plan(pp=2, dp=2, zero=2, layers=(3, 1)),
    plan(pp=2, vp=2, tp=2, again=1),
    plan(pp=2, vp=2, dp=2, mb=2),
    plan(pp=2, vp=2, dp=2, zero=3),
)
EIGHT = (plan(pp=2, tp=2, dp=2), plan(tp=4, dp=2, zero=3), plan(pp=4, dp=2, zero=2, again=1), plan(pp=2, tp=2, dp=2, zero=3, mb=2))
