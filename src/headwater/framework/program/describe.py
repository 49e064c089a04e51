"""Read an unmodified `nn.Module`: its layers folded into classes, from one pass over tensors without data.

The module is copied onto the meta device, so that it takes no memory and no weights; a forward pass there shows which
linear layers and which attention each repeated layer runs, and how often. Layers are alike where they are of one
class with parameters of the same shapes. Attention is seen where `scaled_dot_product_attention` is called.
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headwater.core.errors import BadInput
from headwater.framework.program.model_spec import Block, ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

LEAST_REPEATS = 2


@dataclass(slots=True, kw_only=True)
class Seen:
    """What the forward pass did inside one layer."""

    linears: list[tuple[int, int]] = field(default_factory=list)
    """(in, out) of every linear layer that ran."""
    weights: list[int] = field(default_factory=list)
    """The identities of their weights."""
    attention: tuple[int, int] | None = None
    """(heads, head width)."""
    before: int = 0
    """How many linear layers ran before attention: the projections of queries, keys and values; the next leads back."""
    hidden: int = 0
    """Width of the layer's output."""


def describe(model: nn.Module, example_inputs: Sequence[torch.Tensor], *, name: str | None = None) -> ModelSpec:
    """Return a module's spec. The example inputs give the shapes: (batch, sequence, ...) first.

    Raises BadInput where the forward pass does not run without data, naming the line; where no layers repeat; and where
    the attention of a layer is computed in a way that is not seen.
    """
    folded = _folded(repeated_layers(model))
    length = _sequence(example_inputs)
    bare, firsts = _on_meta(model, folded)
    seen = _run(bare, firsts, [_as_meta(one) for one in example_inputs])
    blocks = tuple(_block(len(run), first, seen[id(first)]) for run, first in zip(folded, firsts, strict=True))
    return ModelSpec(
        name=name or type(model).__name__,
        blocks=blocks,
        seq_len=length,
        vocab=_vocabulary(model),
        tied=_tied(model),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearOrder:
    """The linear maps of a layer by name in the order in which they run; `back` lead back to the residual stream."""

    names: tuple[str, ...]
    back: frozenset[str]


def repeated_layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers that repeat, in order. Raises BadInput where there are none."""
    layers = list(_repeated(model))
    if not layers:
        raise BadInput(
            f"{type(model).__name__} has no repeated layers.",
            f"A plan cuts a model between layers that repeat: a ModuleList or Sequential with at least {LEAST_REPEATS} of one class.",
        )
    return layers


def linear_orders(model: nn.Module, example_inputs: Sequence[torch.Tensor]) -> list[LinearOrder]:
    """Return for each repeated layer its linear maps in order, seen in one pass without data."""
    folded = _folded(repeated_layers(model))
    bare, firsts = _on_meta(model, folded)
    seen = _run(bare, firsts, [_as_meta(one) for one in example_inputs])
    return [order for run, first in zip(folded, firsts, strict=True) for order in [_order(first, seen[id(first)])] * len(run)]


def _order(layer: nn.Module, seen: Seen) -> LinearOrder:
    from torch import nn

    names = {id(module.weight): name for name, module in layer.named_modules() if isinstance(module, nn.Linear)}
    if any(weight not in names for weight in seen.weights) or len(seen.weights) != len(seen.linears):
        raise BadInput(f"A {type(layer).__name__} has linear maps that are not nn.Linear.", "Such a layer cannot be cut into tensors.")
    order = tuple(names[weight] for weight in seen.weights)
    after = {order[seen.before]} if seen.attention else set()
    return LinearOrder(names=order, back=frozenset({*after, order[-1]}))


def _on_meta(model: nn.Module, folded: Sequence[Sequence[nn.Module]]) -> tuple[nn.Module, list[nn.Module]]:
    """Return the module with tensors that have shapes and no data, and the first layer of each class in it.

    Tensors that are shared stay shared. Layers after the first of their class are stood in for, so that depth costs nothing.
    """
    import torch

    memo: dict[int, Any] = {}
    for parameter in itertools.chain(*(one.parameters() for one in _once(model, folded))):
        memo[id(parameter)] = torch.nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad)
    for buffer in itertools.chain(*(one.buffers() for one in _once(model, folded))):
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    firsts = [copy.deepcopy(run[0], memo) for run in folded]
    for run, first in zip(folded, firsts, strict=True):
        memo |= {id(layer): _stand_in(first) for layer in run[1:]}
    return copy.deepcopy(model, memo).eval(), firsts


def _once(model: nn.Module, folded: Sequence[Sequence[nn.Module]]) -> Iterator[_Tensors]:
    """Yield what holds the tensors of the model with each class of layers once."""
    skipped = {id(layer) for run in folded for layer in run[1:]}

    def walk(module: nn.Module) -> Iterator[_Tensors]:
        yield _Tensors(module)
        for child in module.children():
            if id(child) not in skipped:
                yield from walk(child)

    return walk(model)


@dataclass(frozen=True, slots=True)
class _Tensors:
    """A module's own tensors, without those of its children."""

    module: nn.Module

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        return self.module.parameters(recurse=False)

    def buffers(self) -> Iterator[torch.Tensor]:
        return self.module.buffers(recurse=False)


def _stand_in(first: nn.Module) -> nn.Module:
    """Return a layer that answers as the first of its class did: without data all of them answer alike."""
    from torch import nn

    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.__dict__["first"] = first

        def __getattr__(self, name: str) -> Any:
            return getattr(self.__dict__["first"], name)

        def forward(self, *_: Any, **__: Any) -> Any:
            return first.__dict__["answered"]

    return Same()


def _as_meta(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.empty_like(tensor, device="meta")


def _repeated(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers that repeat: the children of the outermost list or sequence that holds several of one class."""
    from torch import nn

    members = [member for member in model.children() if any(True for _ in member.parameters())]
    kinds = Counter(type(member) for member in members)
    if isinstance(model, nn.ModuleList | nn.Sequential | nn.ModuleDict) and max(kinds.values(), default=0) >= LEAST_REPEATS:
        most = kinds.most_common(1)[0][0]
        yield from (member for member in members if type(member) is most)
        return
    for child in members:
        yield from _repeated(child)


def _signature(layer: nn.Module) -> tuple[object, ...]:
    return (type(layer), *((name, tuple(one.shape)) for name, one in layer.named_parameters()))


def _folded(layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """Return each run of layers that are alike."""
    return [list(group) for _, group in itertools.groupby(layers, key=_signature)]


def _run(model: nn.Module, layers: Sequence[nn.Module], inputs: Sequence[torch.Tensor]) -> dict[int, Seen]:
    """Run the module once without data and return what each layer did."""
    import torch

    seen = {id(layer): Seen() for layer in layers}
    watch = _watch(seen)
    handles = [handle for layer in layers for handle in watch.hooks(layer)]
    try:
        with torch.no_grad(), watch:
            model(*inputs)
    except Exception as error:
        raise BadInput(f"The forward pass does not run without data: {error}", _where(error)) from error
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _where(error: Exception) -> str:
    """Return the user's line at which a forward pass stopped."""
    import traceback

    ours = ("site-packages", __file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not any(one in frame.filename for one in ours)]
    at = f"It stopped at {frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}. " if frames else ""
    return f"{at}Control flow must not depend on values, and inputs must have the right shapes."


def _watch(seen: dict[int, Seen]) -> Any:
    """Return the mode that notes linear layers and attention for the layer that is running."""
    import torch
    from torch.nn import functional
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.inside: list[Seen] = []

        def hooks(self, layer: nn.Module) -> list[Any]:
            def enter(*_: Any) -> None:
                self.inside.append(seen[id(layer)])

            def leave(_module: nn.Module, _inputs: Any, output: Any) -> None:
                first = output[0] if isinstance(output, tuple) else output
                self.inside.pop().hidden = int(first.shape[-1])
                layer.__dict__["answered"] = output

            return [layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)]

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if self.inside:
                note = self.inside[-1]
                if function is functional.linear:
                    note.linears.append((int(args[1].shape[1]), int(args[1].shape[0])))
                    note.weights.append(id(args[1]))
                elif function is functional.multi_head_attention_forward:
                    _note_packed(note, args)
                elif function is functional.scaled_dot_product_attention:
                    query = args[0] if args else kwargs["query"]
                    note.attention, note.before = (int(query.shape[-3]), int(query.shape[-1])), len(note.linears)
                elif function in (torch.bmm, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__) and note.attention is None:
                    raise BadInput("A layer multiplies activations by activations outside scaled_dot_product_attention.", "")
            return function(*args, **kwargs)

    return Watch()


def _note_packed(note: Seen, args: Any) -> None:
    """Note `nn.MultiheadAttention`, whose projections are packed in one weight."""
    width, heads = int(args[3]), int(args[4])
    note.attention, note.before = (heads, width // heads), len(note.linears) + 1
    note.linears += [(width, 3 * width), (width, width)]


def _block(count: int, layer: nn.Module, seen: Seen) -> Block:
    heads, width = seen.attention or (0, 0)
    rest = seen.linears[seen.before + 1 :] if heads else seen.linears
    if not rest:
        raise BadInput(
            f"A {type(layer).__name__} has no feed-forward linear layers.",
            "Layers of linear maps, with or without attention, can be planned.",
        )
    ffn = max(max(one) for one in rest)
    return Block(
        count=count,
        hidden=seen.hidden,
        ffn=ffn,
        heads=heads,
        kv_heads=_kv_heads(layer, seen, heads, width) if heads else 0,
        head_dim=width,
        mlp_matrices=sum(into * out for into, out in rest) / (seen.hidden * ffn),
    )


def _kv_heads(layer: nn.Module, seen: Seen, heads: int, width: int) -> int:
    """Return the key-value heads from the width of all projections: heads that are repeated afterwards do not show there."""
    outs = sum(out for into, out in seen.linears[: seen.before] if into == seen.hidden)
    kv_heads, rest = divmod(outs - heads * width, 2 * width)
    if rest or kv_heads < 1 or seen.before >= len(seen.linears) or seen.linears[seen.before] != (heads * width, seen.hidden):
        raise BadInput(
            f"The projections of attention in a {type(layer).__name__} are not seen among {seen.linears[:12]}.",
            "Queries, keys and values must come from linear layers just before attention, and one must lead back just after.",
        )
    return kv_heads


def _sequence(inputs: Sequence[torch.Tensor]) -> int:
    if not inputs or inputs[0].dim() < 1:
        raise BadInput("There is no example input.", "Give the tensors that the module takes, (batch, sequence, ...) first.")
    first = inputs[0]
    has_sequence = first.dim() > (2 if first.is_floating_point() else 1)
    return int(first.shape[1]) if has_sequence else 1


def _vocabulary(model: nn.Module) -> int:
    from torch import nn

    return max((module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding)), default=0)


def _tied(model: nn.Module) -> bool:
    """Tell whether the head is the embedding: a linear layer that shares its weight."""
    from torch import nn

    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return any(id(module.weight) in embeddings for module in model.modules() if isinstance(module, nn.Linear))
