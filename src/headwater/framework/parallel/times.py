"""How long a step takes, term by term: counted work over the part of each chip's data-sheet rate that training reaches.

The few constants of `Calibration` are physical: reached shares of peaks and links, passes over memory, joules of an
operation, exposed shares of messages, seconds of overhead. They are fitted to published runs (`fit`), never per model,
per source or per chip, so that they say something about chips and models that nobody has run.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from headwater.framework.parallel.columns import (
    BF16,
    FP8,
    MXFP8,
    BlockColumns,
    ChipColumns,
    Floats,
    LayoutColumns,
    ModelColumns,
)
from headwater.framework.parallel.work import HALF, LayerWork, head_work, layer_work
from headwater.framework.program.model_spec import Kernel

BITS = np.array([32.0, 16.0, 8.0, 8.0, 4.0])
REFERENCE_PEAK = 312e12
REFERENCE_W = 400.0
HEAD_TILE = 32
ALIGNED = 8
UNALIGNED = 0.3
"""Part of the rate that is left where a head's width is no multiple of 8 numbers; an assumption, not fitted."""
OPTIMIZER_BYTES = 30.0
"""Read and written for each parameter by Adam with 32-bit states and a 16-bit copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The constants of the cost model."""

    matmul: float = 0.85
    """Part of the peak that a large matrix product reaches."""
    narrow: float = 128.0
    """Width at which a matrix product takes twice as long for each operation: it fills its tiles worse the narrower it is."""
    power_fade: float = 0.3
    """That part falls with the peak for each watt to this power: a dense chip cannot hold its clock."""
    attention: float = 0.55
    """Part of the 16-bit peak that attention reaches on a chip of 312 TFLOP/s."""
    attention_fade: float = 0.3
    """That part falls with the peak to this power: exponentials and shared memory grow more slowly."""
    bias: float = 0.65
    """How fast a generic attention kernel with a bias is beside the vendor's, on a chip of 312 TFLOP/s."""
    bias_fade: float = 0.4
    """And that falls further with the peak to this power."""
    passes: float = 5.0
    """How often activations go through memory in a forward and backward pass, beyond matrix products."""
    stream: float = 0.5
    """Part of matrix products' memory traffic that is not hidden behind them."""
    cast: float = 3.0
    """Bytes through memory for each value rounded to 8 bits."""
    block_scale: float = 1.5
    """How much dearer rounding with block scales (mxfp8, nvfp4) is."""
    launch: float = 1.5e-4
    """Seconds of gaps between kernels for each layer and micro-batch, forward and backward."""
    link: float = 0.7
    """Part of the links' rate that a collective reaches."""
    latency: float = 1.0e-5
    """Seconds for each step of a collective between servers."""
    tensor_exposed: float = 0.7
    context_exposed: float = 0.3
    data_exposed: float = 0.5
    reduce_exposed: float = 0.7
    gather_exposed: float = 0.1
    """Exposed part of messages for tensor, context and data parallelism, and of gathering sharded parameters."""
    micro: float = 1.0e-3
    """Seconds for each micro-batch and pipeline chunk."""
    step: float = 0.05
    """Seconds for each step: data, clipping, logging."""


NAMES = tuple(one.name for one in fields(Calibration))


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Seconds of a step by cause; `total` is their sum."""

    matmul: Floats
    attention: Floats
    memory: Floats
    casts: Floats
    launches: Floats
    head: Floats
    recompute: Floats
    tensor: Floats
    context: Floats
    expert: Floats
    bubble: Floats
    pipeline: Floats
    data: Floats
    optimizer: Floats
    overhead: Floats

    @property
    def total(self) -> Floats:
        """Seconds of a step."""
        return np.asarray(sum(getattr(self, one.name) for one in fields(self)))


def matmul_s_per_flop(layout: LayoutColumns, chip: ChipColumns, k: Calibration, *, precision: Floats | None = None) -> Floats:
    """Return seconds of one operation in a large matrix product; infinite where the chip has no such number format."""
    kind = (layout.precision if precision is None else precision).astype(int)
    kind = np.broadcast_to(kind, np.broadcast_shapes(kind.shape, chip.power_w.shape))
    peak = np.take_along_axis(np.broadcast_to(chip.peak, (*kind.shape, chip.peak.shape[-1])), kind[..., None], -1)[..., 0]
    with np.errstate(divide="ignore"):
        return np.asarray(1 / (k.matmul * peak * density(chip) ** -k.power_fade))


def density(chip: ChipColumns) -> Floats:
    """Return the 16-bit peak for each watt beside that of a chip of 312 TFLOP/s and 400 W, at least 1."""
    return np.asarray(np.maximum(1.0, chip.peak[..., BF16] / REFERENCE_PEAK * REFERENCE_W / chip.power_w))


def group_rate(size: Floats, stride: Floats, chip: ChipColumns, k: Calibration) -> tuple[Floats, Floats]:
    """Return bytes/s and seconds of latency of a ring over `size` ranks that lie `stride` apart.

    Within a server the links carry it; between servers each member there brings its own port.
    """
    inside = np.minimum(np.maximum(chip.fast_group / stride, 1), size)
    between = size > inside
    rate = np.where(between, np.minimum(chip.link_s, inside * chip.network_s), chip.link_s)
    return np.asarray(k.link * rate), np.asarray(k.latency * np.where(between, size / inside, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTimes:
    """Seconds of one layer and one micro-batch, forward and backward."""

    matmul: Floats
    attention: Floats
    memory: Floats
    casts: Floats
    launches: Floats
    tensor: Floats
    context: Floats
    expert: Floats
    forward: Floats
    """The part that recomputation repeats."""

    @property
    def total(self) -> Floats:
        """Without recomputation."""
        return np.asarray(
            self.matmul + self.attention + self.memory + self.casts + self.launches + self.tensor + self.context + self.expert
        )


def attention_rate(block: BlockColumns, chip: ChipColumns, k: Calibration) -> Floats:
    """Return operations a second of attention."""
    peak = chip.peak[..., BF16]
    grown = peak / REFERENCE_PEAK
    generic = np.where(block.kernel == Kernel.GENERIC, k.bias * grown**-k.bias_fade, 1.0)
    # fused kernels round a head's width up to a tile; products of an odd width miss the matrix units' loads
    tiled = block.head_dim / np.maximum(np.ceil(block.head_dim / HEAD_TILE) * HEAD_TILE, 1)
    fused = k.attention * peak * grown**-k.attention_fade * generic * np.maximum(tiled, 1 / HEAD_TILE)
    written = k.matmul * peak * np.where(np.mod(block.head_dim, ALIGNED) == 0, 1.0, UNALIGNED)
    return np.asarray(np.where(block.kernel == Kernel.WRITTEN, written, fused))


def layer_times(block: BlockColumns, work: LayerWork, layout: LayoutColumns, chip: ChipColumns, k: Calibration) -> LayerTimes:
    """Return the seconds of one layer."""
    per_flop = matmul_s_per_flop(layout, chip, k)
    matmul = (work.matmul_flops + k.narrow * work.matmul_flops_per_width) * per_flop
    attention = work.attention_flops / attention_rate(block, chip, k)
    stream = k.stream * work.matmul_bytes * np.minimum(1.0, BITS[layout.precision.astype(int)] / 16) / chip.memory_s
    elementwise = k.passes * work.elementwise_bytes / chip.memory_s
    scaled = np.where(layout.precision >= MXFP8, k.block_scale, 1.0) * (layout.precision >= FP8)
    casts = k.cast * scaled * work.cast_values / chip.memory_s
    rate, latency = group_rate(layout.tp, np.ones(1), chip, k)
    tensor = k.tensor_exposed * (work.tensor_bytes / rate + 2 * latency * (layout.tp > 1))
    context_rate, _ = group_rate(layout.cp, layout.tp, chip, k)
    context = k.context_exposed * work.context_bytes / context_rate
    expert_rate, expert_latency = group_rate(layout.ep, layout.tp, chip, k)
    expert = work.expert_bytes / expert_rate + 2 * expert_latency * (layout.ep > 1)
    launches = np.broadcast_to(np.asarray(k.launch), matmul.shape)
    forward = matmul + attention + stream + (elementwise + casts + launches) / 3 + tensor + context + expert
    return LayerTimes(
        matmul=np.asarray(3 * matmul),
        attention=np.asarray(3.5 * attention),
        memory=np.asarray(3 * stream + elementwise),
        casts=np.asarray(3 * casts),
        launches=launches,
        tensor=np.asarray(2 * tensor),
        context=np.asarray(3 * context),
        expert=np.asarray(2 * expert),
        forward=np.asarray(forward),
    )


def head_times(model: ModelColumns, layout: LayoutColumns, chip: ChipColumns, k: Calibration) -> Floats:
    """Return the seconds of the head and the loss for a micro-batch, forward and backward."""
    work = head_work(model, layout)
    half = matmul_s_per_flop(layout, chip, k, precision=np.array([BF16]))
    return np.asarray(3 * work.matmul_flops * half + 2 * work.elementwise_bytes / chip.memory_s)


def stage_layers(model: ModelColumns, layout: LayoutColumns) -> tuple[Floats, Floats]:
    """Return how many layers the fullest inner stage and the last stage hold.

    Equal cuts where they divide; else the embedding and the head count as a layer each.
    """
    chunks = layout.pp * layout.vp
    equal = np.mod(model.layers, chunks) == 0
    inner = np.where(equal, model.layers, np.ceil((model.layers + 2) / chunks) * chunks) / layout.pp
    last = np.where(equal, inner, np.maximum(inner - 1, 1))
    return np.asarray(inner), np.asarray(np.where(layout.pp == 1, inner, last))


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Seconds of a mean layer and of the head for a micro-batch: what any cut into stages is made of."""

    layer: LayerTimes
    head: Floats


def unit_times(model: ModelColumns, layout: LayoutColumns, chip: ChipColumns, k: Calibration) -> Units:
    """Return the seconds of a mean layer, over all classes, and of the head."""
    classes = [(block, layer_times(block, layer_work(block, model, layout), layout, chip, k)) for block in model.blocks]
    if len(classes) == 1:
        return Units(layer=classes[0][1], head=head_times(model, layout, chip, k))

    def mean(name: str) -> Floats:
        return np.asarray(sum(block.count * getattr(times, name) for block, times in classes) / model.layers)

    layer = LayerTimes(**{one.name: mean(one.name) for one in fields(LayerTimes)})
    return Units(layer=layer, head=head_times(model, layout, chip, k))


def step_terms(model: ModelColumns, layout: LayoutColumns, chip: ChipColumns, k: Calibration) -> Terms:
    """Return the seconds of a step by cause, with stages cut as equally as the layers allow."""
    units = unit_times(model, layout, chip, k)
    inner, last = stage_layers(model, layout)
    inner, last = np.where(layout.pp == 1, model.layers, inner), np.where(layout.pp == 1, model.layers, last)
    layer = units.layer.total + layout.recompute * units.layer.forward
    slowest = np.maximum(last * layer + units.head, inner * layer)
    return whole_step(units, layout.recompute * model.layers, slowest, model, layout, chip, k)


def whole_step(
    units: Units, recomputed: Floats, slowest: Floats, model: ModelColumns, layout: LayoutColumns, chip: ChipColumns, k: Calibration
) -> Terms:
    """Return the seconds of a step by cause from the seconds of its slowest stage for a micro-batch.

    `recomputed` layers run their forward pass again. Waiting for the slowest stage counts as bubble.
    """
    busy = layout.micro_batches
    share = busy / layout.pp
    mean = (model.layers * units.layer.total + recomputed * units.layer.forward + units.head) / layout.pp
    data, optimizer = _data_times(model, layout, chip, k, busy * slowest)
    return Terms(
        **{name: np.asarray(share * model.layers * getattr(units.layer, name)) for name in LAYER_TERMS},
        head=np.asarray(share * units.head),
        recompute=np.asarray(share * recomputed * units.layer.forward),
        bubble=np.asarray((layout.pp - 1) / layout.vp * mean + busy * (slowest - mean)),
        pipeline=_hop_times(model, layout, chip, k),
        data=data,
        optimizer=optimizer,
        overhead=np.asarray(k.step + k.micro * busy * layout.vp),
    )


LAYER_TERMS = ("matmul", "attention", "memory", "casts", "launches", "tensor", "context", "expert")


def _hop_times(model: ModelColumns, layout: LayoutColumns, chip: ChipColumns, k: Calibration) -> Floats:
    """Return exposed seconds of handing activations from stage to stage."""
    hop = layout.micro_batch * model.seq_len / layout.cp * model.hidden * HALF / layout.tp * (layout.pp > 1)
    rate = np.where(layout.chips > chip.fast_group, chip.network_s, chip.link_s)
    return np.asarray(2 * layout.micro_batches * layout.vp * hop / rate * k.data_exposed)


def _data_times(model: ModelColumns, layout: LayoutColumns, chip: ChipColumns, k: Calibration, busy_s: Floats) -> tuple[Floats, Floats]:
    """Return exposed seconds of data-parallel messages, and of the optimizer."""
    ends = model.vocab * model.hidden / layout.tp
    layers = sum(block.count * layer_work(block, model, layout).parameters for block in model.blocks)
    held = np.asarray(layers / layout.pp + ends)
    ranks = layout.dp * layout.cp
    busy, stage_layers_held = layout.micro_batches, model.layers / layout.pp
    once = _ring_s(held, ranks, layout, chip, k, stage_layers_held)
    # states sharded within a server travel there alone, and each shard once a step between servers
    near = _ring_s(held, layout.zero_ranks, layout, chip, k, stage_layers_held)
    apart = ranks / layout.zero_ranks
    across = 2 * HALF * held / layout.zero_ranks * (apart - 1) / apart / (k.link * chip.network_s)
    plain = k.data_exposed * 2 * once
    reduced = k.data_exposed * (near + across) + k.reduce_exposed * near * busy
    gathered = 3 * near * busy + across
    sharded = k.gather_exposed * gathered + np.maximum(0.0, (1 - k.gather_exposed) * gathered - busy_s)
    messages = np.where(layout.zero >= 3, sharded, np.where(layout.zero >= 2, reduced, plain))
    shard = np.where(layout.zero >= 1, layout.zero_ranks, 1.0)
    optimizer = OPTIMIZER_BYTES * held / shard / chip.memory_s
    return np.asarray(messages), np.asarray(optimizer)


def _ring_s(held: Floats, ranks: Floats, layout: LayoutColumns, chip: ChipColumns, k: Calibration, layers: Floats) -> Floats:
    """Return the seconds in which `ranks` gather or reduce what each holds in 16 bits, layer by layer."""
    rate, latency = group_rate(ranks, layout.tp, chip, k)
    return np.asarray(HALF * held * (ranks - 1) / ranks / rate + latency * (ranks > 1) * layers)
