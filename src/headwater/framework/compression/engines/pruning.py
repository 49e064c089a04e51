"""Take whole hidden units out: of two linear layers one behind the other, those units that weigh least.

A unit's importance is the product of the norms of its incoming and outgoing weights. What is left is a smaller dense model, which every
runtime runs faster; the user's `tune` may train it a little further.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.errors import BadInput
from headwater.framework.compression.engine import Candidate, Engine, Given

if TYPE_CHECKING:
    from torch import nn

SHARES = {"quarter": 0.25, "half": 0.5, "three-quarters": 0.75}


def settings(given: Given) -> list[str]:
    """Return the shares of units to take out, where pairs of layers are named."""
    return list(SHARES) if given.pairs and given.program.model is not None else []


def make(given: Given, setting: str, folder: Path) -> Candidate:
    """Return the pruned model in ONNX Runtime."""
    from headwater.framework.compression.engines.small import as_onnx

    assert given.program.model is not None, "settings offers nothing without the module"
    model = copy.deepcopy(given.program.model)
    for into, out_of in given.pairs:
        prune(model, into, out_of, SHARES[setting])
    if given.tune is not None:
        given.tune(model)
    return as_onnx(model, given, folder, {"share": SHARES[setting], "pairs": [list(pair) for pair in given.pairs]})


def prune(model: nn.Module, into: str, out_of: str, share: float) -> None:
    """Take a share of the units between two linear layers out, in place; at least one is kept, and of equals the earlier."""
    import torch

    first, second = linear(model, into), linear(model, out_of)
    if first.out_features != second.in_features:
        what = f"'{into}' gives {first.out_features} and '{out_of}' takes {second.in_features}."
        raise BadInput(what, "Name two layers one behind the other.")
    importance = first.weight.detach().norm(dim=1) * second.weight.detach().norm(dim=0)
    keep = max(1, first.out_features - round(share * first.out_features))
    units = torch.argsort(importance, descending=True, stable=True)[:keep].sort().values
    first.weight = torch.nn.Parameter(first.weight.detach()[units].clone())
    if first.bias is not None:
        first.bias = torch.nn.Parameter(first.bias.detach()[units].clone())
    second.weight = torch.nn.Parameter(second.weight.detach()[:, units].clone())
    first.out_features = second.in_features = keep


def linear(model: nn.Module, name: str) -> nn.Linear:
    """Return a linear layer by its name. Raises BadInput where there is none of that name."""
    from torch import nn

    try:
        found = model.get_submodule(name)
    except AttributeError as error:
        raise BadInput(f"There is no layer '{name}'.", "Names are those of named_modules().") from error
    if not isinstance(found, nn.Linear):
        raise BadInput(f"'{name}' is a {type(found).__name__}.", "Only linear layers can be pruned so.")
    return found


ENGINE = Engine(name="pruning", settings=settings, make=make)
