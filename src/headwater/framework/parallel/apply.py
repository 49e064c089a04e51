"""Apply a plan to an unmodified `nn.Module` with stock torch: DTensor, FSDP2 and `torch.distributed.pipelining`.

Inside a process group of as many ranks as the plan has chips. Ranks lie pipeline, data, tensor, the last the innermost.

- Tensor parallelism: which linear maps of a layer are cut by columns and which by rows comes from the order in which one
  pass without data runs them; DTensor carries the cut through everything between, and decides every message.
- Data parallelism: FSDP2 for every layer; ZeRO 0 as replicas, 2 and 3 as shards kept or freed after the forward pass.
- Pipeline: a stage is the whole module in which other stages' layers are stood in for: those before it hand on what the
  stage received, the last of its own ends the pass. So position tables and masks that the module makes stay its own.
  With virtual stages a rank holds several, and they are interleaved.

Refused, as stock torch has no way or the way is experimental: ZeRO 1, context and expert parallelism, weights that are
shared across a pipeline. Import this module only inside a function: it imports torch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from headwater.core.errors import BadInput
from headwater.framework.parallel.plan import Plan
from headwater.framework.program.describe import LinearOrder, linear_orders, repeated_layers

ATTENTION: Any = nn.functional.scaled_dot_product_attention
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def refusals(model: nn.Module, plan: Plan) -> list[str]:
    """Return why a plan cannot be applied to a module here."""
    found = []
    if plan.zero == 1 and plan.dp > 1:
        found.append("ZeRO 1 is not in stock torch beside DTensor; take 0, 2 or 3.")
    if plan.cp > 1 or plan.ep > 1:
        found.append("Context and expert parallelism are not applied here.")
    if plan.vp > 1 and plan.micro_batches % max(plan.micro_batches // plan.pp, 1):
        found.append(f"{plan.micro_batches} micro-batches do not go through {plan.pp} interleaved stages in whole rounds.")
    if plan.scope == "node" and plan.dp > 1:
        found.append("States are sharded over all data ranks here, not within a server.")
    if plan.pp > 1 and len({id(one) for one in model.parameters()}) < sum(1 for _ in model.named_parameters(remove_duplicate=False)):
        found.append("A weight is shared, and a pipeline would part it.")
    if any(isinstance(one, nn.Dropout) and one.p > 0 for one in model.modules()) and model.training:
        found.append("Dropout draws differently on every rank.")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """This rank's part of a module, ready to step."""

    plan: Plan
    part: nn.Module
    mesh: DeviceMesh
    schedule: Any
    loss: Loss

    def step(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor | None:
        """Run forward and backward over the whole batch, of which every rank is given all; return the mean loss where it is known.

        Gradients are then those of the mean loss, in `part`'s parameters. Only the last stage knows the loss.
        """
        mine = slice_of(self.plan, self.mesh)
        if self.schedule is None:
            return self._in_turn(inputs[mine], targets[mine])
        losses: list[torch.Tensor] = []
        last = self.mesh.get_local_rank("pp") == self.plan.pp - 1
        first = (inputs[mine],) if self.mesh.get_local_rank("pp") == 0 else ()
        self.schedule.step(*first, tokens=inputs[mine], target=targets[mine] if last else None, losses=losses if last else None)
        return torch.stack([one.detach() for one in losses]).mean() if last else None

    def _in_turn(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        count = self.plan.micro_batches
        for at, (some, wanted) in enumerate(zip(inputs.chunk(count), targets.chunk(count), strict=True)):
            if isinstance(self.part, FSDPModule) and self.plan.zero == 0:
                self.part.set_requires_gradient_sync(at == count - 1)
            loss = self.loss(self.part(some), wanted) / count
            loss.backward()  # type: ignore[no-untyped-call] # torch does not type it
            total += loss.detach()
        return total


def slice_of(plan: Plan, mesh: DeviceMesh) -> slice:
    """Return which sequences of the whole batch this rank works on."""
    share = plan.global_batch // plan.dp
    start = share * mesh.get_local_rank("dp")
    return slice(start, start + share)


def apply(model: nn.Module, plan: Plan, example: torch.Tensor, loss: Loss) -> Parallel:
    """Return this rank's part of a module under a plan; the module itself is left as it is.

    Raises BadInput with everything that stands against it.
    """
    against = refusals(model, plan)
    if against:
        raise BadInput(f"The plan {plan.name} cannot be applied to {type(model).__name__}: {' '.join(against)}", "Choose another plan.")
    mesh = init_device_mesh("cpu", (plan.pp, plan.dp, plan.tp), mesh_dim_names=("pp", "dp", "tp"))
    orders = linear_orders(model, [example[: plan.micro_batch]])
    again = plan.stages[mesh.get_local_rank("pp")].recomputed
    parts = []
    for own in shares(plan, mesh.get_local_rank("pp")):
        parts.append(_part(model, plan, mesh, own, orders, again))
        again = max(0, again - len(own))
    whole = parts[0] if len(parts) == 1 else nn.ModuleList(parts)
    schedule = None if plan.pp == 1 else _schedule(parts, plan, mesh, loss)
    return Parallel(plan=plan, part=whole, mesh=mesh, schedule=schedule, loss=loss)


def shares(plan: Plan, rank: int) -> list[range]:
    """Return the layers that a rank of the pipeline holds: one stretch, or one for each of its virtual stages, in their order.

    A stage's layers are shared out over its virtual stages, the first getting one more where they do not divide.
    """
    held = [[stage.layers // plan.vp + (turn < stage.layers % plan.vp) for stage in plan.stages] for turn in range(plan.vp)]
    found, start = [], 0
    for counts in held:
        for at, count in enumerate(counts):
            if at == rank:
                found.append(range(start, start + count))
            start += count
    return found


def _part(model: nn.Module, plan: Plan, mesh: DeviceMesh, own: range, orders: Sequence[LinearOrder], again: int) -> nn.Module:
    """Return the module with only the layers of `own`, the first `again` of them recomputed, cut and sharded as planned."""
    part = copy.deepcopy(model)
    layers = repeated_layers(part)
    for at, layer in enumerate(layers[own.start : own.stop]):
        if plan.tp > 1:
            _cut_tensors(layer, orders[own.start + at], mesh["tp"])
        if at < again:
            _recompute(layer)
    whole: nn.Module = _Stage(part, layers, own) if plan.pp > 1 else part
    if plan.dp > 1:
        _shard(whole, layers[own.start : own.stop], plan, mesh)
    return whole


def _cut_tensors(layer: nn.Module, order: LinearOrder, mesh: DeviceMesh) -> None:
    """Make a layer's weights DTensors: all linear maps by columns but those that lead back to the residual stream.

    Messages are then two sums forward and two backward: what leads back is added up at once, and what comes back through
    maps that share an input is added up together.
    """
    shared: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, module in layer.named_modules():
        for key, weight in list(module.named_parameters(recurse=False)):
            placement: Replicate | Shard = Replicate()
            if name in order.names:
                placement = Shard(0) if name not in order.back else (Shard(1) if key == "weight" else Replicate())
            setattr(module, key, nn.Parameter(distribute_tensor(weight.data, mesh, [placement])))
        if name in order.names and name not in order.back:
            module.register_forward_pre_hook(lambda _, given: (_once(shared, given[0]), *given[1:]))
        if name in order.back:
            module.register_forward_hook(lambda _, __, output: output.redistribute(placements=[Replicate()]))

    def enter(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        shared.clear()
        return (DTensor.from_local(given[0], mesh, [Replicate()], run_check=False), *given[1:])

    def leave(_: nn.Module, __: Any, output: Any) -> Any:
        shared.clear()
        # a copy, since the module may add to it in place, which a view under FSDP2 does not survive
        return output.redistribute(placements=[Replicate()]).to_local().clone()

    plain = layer.forward

    def forward(*given: Any, **named: Any) -> Any:
        with _LocalAttention():
            return plain(*given, **named)

    layer.forward = forward
    layer.register_forward_pre_hook(enter)
    layer.register_forward_hook(leave)


def _once(shared: dict[int, tuple[torch.Tensor, torch.Tensor]], given: torch.Tensor) -> torch.Tensor:
    """Return the input with its gradient added up over the ranks, one and the same for all maps that take it."""
    if id(given) not in shared:
        shared[id(given)] = (given, _Summed.apply(given))  # type: ignore[no-untyped-call] # torch does not type it
    return shared[id(given)][1]


class _Summed(torch.autograd.Function):
    """Passes a tensor on; its gradient, which every rank has in part, is added up."""

    @staticmethod
    def forward(_: Any, given: torch.Tensor) -> torch.Tensor:
        return given.view_as(given)

    @staticmethod
    def backward(_: Any, gradient: Any) -> Any:
        return gradient.redistribute(placements=[Replicate()] * gradient.device_mesh.ndim)


class _LocalAttention(TorchFunctionMode):
    """Runs attention over heads that are cut on what each rank has: heads do not know one another."""

    def __torch_function__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is ATTENTION and isinstance(args[0], DTensor):
            query = args[0]
            local: list[Any] = [one.to_local() if isinstance(one, DTensor) else one for one in args]
            return DTensor.from_local(function(*local, **kwargs), query.device_mesh, query.placements, run_check=False)
        return function(*args, **kwargs)


def _recompute(layer: nn.Module) -> None:
    plain = layer.forward

    def forward(*given: Any, **named: Any) -> Any:
        with set_checkpoint_early_stop(False):
            return checkpoint(plain, *given, use_reentrant=False, **named)

    layer.forward = forward


def _shard(whole: nn.Module, own: Sequence[nn.Module], plan: Plan, mesh: DeviceMesh) -> None:
    """Shard or replicate every layer and what lies around them over the data ranks."""
    data = mesh["dp"] if plan.zero else _replicas(plan)
    for layer in own:
        fully_shard(layer, mesh=data, reshard_after_forward=plan.zero == 3)
    fully_shard(whole, mesh=data, reshard_after_forward=False)


def _replicas(plan: Plan) -> DeviceMesh:
    """Return a mesh of replicas whose shards have one rank each: ZeRO 0."""
    mesh = init_device_mesh("cpu", (plan.pp, plan.dp, 1, plan.tp), mesh_dim_names=("pp", "replicate", "shard", "tp"))
    return mesh["replicate", "shard"]


def _schedule(parts: Sequence[nn.Module], plan: Plan, mesh: DeviceMesh, loss: Loss) -> Any:
    """Return the one-forward-one-backward schedule, interleaved over virtual stages; its first step also sends ahead the shapes."""
    group, count, rank = mesh.get_group("pp"), plan.pp * plan.vp, mesh.get_local_rank("pp")
    stages = [PipelineStage(part, turn * plan.pp + rank, count, torch.device("cpu"), group=group) for turn, part in enumerate(parts)]
    if len(stages) == 1:
        return Schedule1F1B(stages[0], plan.micro_batches, loss_fn=loss, scale_grads=True)
    return ScheduleInterleaved1F1B(list(stages), plan.micro_batches, loss_fn=loss, scale_grads=True)


class _Ended(Exception):
    """A stage's last layer has run."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = output


class _Stage(nn.Module):
    """A module of which only some layers are here: it takes and gives the residual stream, and at the ends what the module does."""

    def __init__(self, module: nn.Module, layers: Sequence[nn.Module], own: range) -> None:
        super().__init__()
        self.first = own.start == 0
        self.received: list[torch.Tensor] = []
        stands: dict[int, nn.Module] = {id(layer): _Given(self.received) for layer in layers[: own.start]}
        stands |= {id(layer): _End() for layer in layers[own.stop :]}
        if not self.first:
            outside = [one for one in module.modules() if isinstance(one, nn.Embedding)]
            stands |= {id(one): _NoEmbedding(one.embedding_dim) for one in outside}
        if own.stop < len(layers):
            stands |= {id(one): nn.Identity() for one in _after(module, layers)}
        self.module = _replaced(module, stands)

    def forward(self, stream: torch.Tensor, *, tokens: torch.Tensor) -> torch.Tensor:
        """Return what the last own layer gives, or the module's own answer on the last stage."""
        if not self.first:
            self.received[:] = [stream]
        try:
            answer = self.module(tokens)
        except _Ended as ended:
            return ended.output
        assert isinstance(answer, torch.Tensor)
        return answer


class _Given(nn.Module):
    """Stands in for a layer of an earlier stage: gives what was received from there."""

    def __init__(self, received: list[torch.Tensor]) -> None:
        super().__init__()
        self.received = received

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.received[0]


class _End(nn.Module):
    """Stands in for a layer of a later stage: the pass ends here."""

    def forward(self, stream: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        raise _Ended(stream)


class _NoEmbedding(nn.Module):
    """Stands in for an embedding whose answer nobody looks at: its shape without its memory."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.zeros(()).expand(*ids.shape, self.width)


def _after(module: nn.Module, layers: Sequence[nn.Module]) -> list[nn.Module]:
    """Return the modules with weights that come after the layers in the module's own order: norm and head."""
    inside = {id(one) for layer in layers for one in layer.modules()}
    leaves = [one for one in module.modules() if next(one.parameters(recurse=False), None) is not None or id(one) == id(layers[-1])]
    at = max(number for number, one in enumerate(leaves) if id(one) in inside)
    return [one for one in leaves[at + 1 :] if id(one) not in inside]


def _replaced(module: nn.Module, stands: dict[int, nn.Module]) -> nn.Module:
    for name, child in list(module.named_children()):
        if id(child) in stands:
            setattr(module, name, stands[id(child)])
        else:
            _replaced(child, stands)
    return module
