"""What a planner must know of a model: its layers folded into classes, and what lies around them.

No weights and no torch: a spec comes from dimensions, from the named models, or from `describe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from headwater.core.errors import BadInput

MOST_LAYERS = 4096
MOST_WIDTH = 1 << 22


class Kernel(IntEnum):
    """How attention is computed: the vendor's fused kernel; a generic fused one, as a bias (ALiBi) needs; or written out to memory."""

    FUSED = 0
    GENERIC = 1
    WRITTEN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Layers that are alike, folded into one with a count.

    `mlp_matrices` is the size of the feed-forward part in units of hidden x ffn: 2 for up and down, 3 with a gate.
    `heads` is 0 where the layer has no attention. Each of `experts` has a feed-forward part; a token uses `top_k`.
    `kernel` is how attention runs.
    """

    count: int
    hidden: int
    ffn: int
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0
    mlp_matrices: float = 2.0
    experts: int = 1
    top_k: int = 1
    kernel: Kernel = Kernel.FUSED

    @property
    def attention_parameters(self) -> int:
        """Weights of the query, key, value and output projections."""
        return 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)

    @property
    def expert_parameters(self) -> int:
        """Weights of one expert's feed-forward part."""
        return round(self.mlp_matrices * self.hidden * self.ffn)

    @property
    def parameters(self) -> int:
        """Weights of one layer, all experts counted."""
        return self.attention_parameters + self.experts * self.expert_parameters + 2 * self.hidden

    @property
    def active_parameters(self) -> int:
        """Weights that one token meets."""
        return self.attention_parameters + self.top_k * self.expert_parameters + 2 * self.hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model: folded layers in order, the vocabulary at both ends, and the sequence length it is trained at.

    A vocabulary of 0 means that there is neither an embedding nor a head.
    """

    name: str
    blocks: tuple[Block, ...]
    seq_len: int
    vocab: int = 0
    tied: bool = False

    def __post_init__(self) -> None:
        if not self.blocks:
            raise BadInput(f"{self.name} has no layers.", "Give at least one block of layers.")
        for block in self.blocks:
            _check_block(self.name, block)
        if not 1 <= self.seq_len <= 1 << 24:
            raise BadInput(f"{self.name}: the sequence length {self.seq_len} is not between 1 and {1 << 24}.", "Give it in tokens.")
        if not 0 <= self.vocab <= 1 << 24:
            raise BadInput(f"{self.name}: the vocabulary {self.vocab} is not between 0 and {1 << 24}.", "Give it in tokens.")

    @property
    def layers(self) -> int:
        """How many layers there are, unfolded."""
        return sum(block.count for block in self.blocks)

    @property
    def hidden(self) -> int:
        """The width of the residual stream."""
        return self.blocks[0].hidden

    @property
    def parameters(self) -> int:
        """All weights."""
        ends = self.vocab * self.hidden * (1 if self.tied else 2)
        return sum(block.count * block.parameters for block in self.blocks) + ends


def _check_block(name: str, block: Block) -> None:
    if not 1 <= block.count <= MOST_LAYERS:
        raise BadInput(f"{name}: {block.count} layers.", f"Between 1 and {MOST_LAYERS} layers can be planned.")
    if not (1 <= block.hidden <= MOST_WIDTH and 1 <= block.ffn <= MOST_WIDTH):
        raise BadInput(f"{name}: hidden {block.hidden}, ffn {block.ffn}.", f"Widths lie between 1 and {MOST_WIDTH}.")
    if block.heads and (block.kv_heads < 1 or block.heads % block.kv_heads or block.head_dim < 1):
        raise BadInput(
            f"{name}: {block.heads} heads on {block.kv_heads} key-value heads of width {block.head_dim}.",
            "The number of heads must be a multiple of the key-value heads, and a head at least 1 wide.",
        )
    if not 1 <= block.top_k <= block.experts:
        raise BadInput(f"{name}: a token uses {block.top_k} of {block.experts} experts.", "Use at least one and at most all.")
    if not 0 < block.mlp_matrices <= 64:
        raise BadInput(f"{name}: {block.mlp_matrices} feed-forward matrices.", "2 for up and down, 3 with a gate.")


def decoder(
    *,
    name: str,
    layers: int,
    hidden: int,
    ffn: int,
    heads: int,
    seq_len: int,
    vocab: int,
    kv_heads: int | None = None,
    head_dim: int | None = None,
    gated: bool = True,
    experts: int = 1,
    top_k: int = 1,
    tied: bool = False,
) -> ModelSpec:
    """Return a decoder's spec from its dimensions alone. Raises BadInput where they do not fit together."""
    if heads < 1 or (head_dim is None and hidden % heads):
        raise BadInput(f"{name}: a hidden width of {hidden} does not divide by {heads} heads.", "Change either, or give head_dim.")
    block = Block(
        count=layers,
        hidden=hidden,
        ffn=ffn,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_dim=head_dim or hidden // heads,
        mlp_matrices=3.0 if gated else 2.0,
        experts=experts,
        top_k=top_k,
    )
    return ModelSpec(name=name, blocks=(block,), seq_len=seq_len, vocab=vocab, tied=tied)
