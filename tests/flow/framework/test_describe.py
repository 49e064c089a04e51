"""Reading unmodified modules: the same spec as from dimensions, layers folded, and refusals that name the line."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from headwater.core.errors import BadInput
from headwater.framework.parallel.fleet import Fleet
from headwater.framework.parallel.search import search
from headwater.framework.program.describe import describe
from headwater.framework.program.model_spec import ModelSpec
from headwater.framework.program.named import named


class Attention(nn.Module):
    """Grouped-query attention as people write it."""

    def __init__(self, hidden: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = heads, kv_heads, hidden // heads
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, kv_heads * self.width, bias=False)
        self.value = nn.Linear(hidden, kv_heads * self.width, bias=False)
        self.out = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, hidden = x.shape
        query = self.query(x).view(batch, length, self.heads, self.width).transpose(1, 2)
        key, value = (
            one(x).view(batch, length, self.kv_heads, self.width).transpose(1, 2).repeat_interleave(self.heads // self.kv_heads, 1)
            for one in (self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, hidden))


class Layer(nn.Module):
    """A decoder layer with a gate."""

    def __init__(self, hidden: int, ffn: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.attention = Attention(hidden, heads, kv_heads)
        self.norms = nn.ModuleList(nn.RMSNorm(hidden) for _ in range(2))
        self.gate, self.up = nn.Linear(hidden, ffn, bias=False), nn.Linear(hidden, ffn, bias=False)
        self.down = nn.Linear(ffn, hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norms[0](x))
        inner = self.norms[1](x)
        return x + self.down(functional.silu(self.gate(inner)) * self.up(inner))


class Decoder(nn.Module):
    """A decoder, its head tied to the embedding where asked."""

    def __init__(self, sizes: list[tuple[int, int]], hidden: int, heads: int, kv_heads: int, vocab: int, *, tied: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList(Layer(hidden, ffn, heads, kv_heads) for count, ffn in sizes for _ in range(count))
        self.head = nn.Linear(hidden, vocab, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


def tokens(length: int) -> torch.Tensor:
    """Return token ids without data."""
    return torch.zeros(1, length, dtype=torch.long, device="meta")


def test_a_70_billion_parameter_module_is_described_without_weights_as_from_its_dimensions() -> None:
    with torch.device("meta"):
        model = Decoder([(80, 28672)], 8192, 64, 8, 128256)
    assert describe(model, [tokens(8192)], name="llama-3-70b") == named("llama-3-70b")


def test_the_parameters_of_the_spec_are_those_of_the_module() -> None:
    model = Decoder([(3, 192)], 64, 8, 2, 100, tied=True)
    spec = describe(model, [tokens(16)])
    assert spec.tied
    assert spec.parameters == sum(one.numel() for one in model.parameters())


def test_layers_of_different_shapes_fold_into_classes_in_their_order() -> None:
    spec = describe(Decoder([(2, 128), (3, 256)], 64, 8, 8, 100), [tokens(16)])
    assert [(block.count, block.ffn) for block in spec.blocks] == [(2, 128), (3, 256)]


def test_the_module_is_left_as_it_was() -> None:
    model = Decoder([(2, 128)], 64, 8, 8, 100)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    describe(model, [torch.zeros(1, 16, dtype=torch.long)])
    assert model.training
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert all(not one._forward_hooks and not one._forward_pre_hooks for one in model.modules())


def test_torchs_own_encoder_is_described() -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(256, 8, 1024, batch_first=True), 4)
    block = describe(encoder, [torch.zeros(2, 16, 256)]).blocks[0]
    assert (block.count, block.hidden, block.heads, block.kv_heads, block.ffn, block.mlp_matrices) == (4, 256, 8, 8, 1024, 2.0)


def test_layers_without_attention_are_described_and_planned() -> None:
    model = nn.Sequential(*(nn.Sequential(nn.Linear(512, 512), nn.ReLU()) for _ in range(8)))
    spec = describe(model, [torch.zeros(4, 512)])
    assert (spec.layers, spec.seq_len, spec.blocks[0].heads) == (8, 1, 0)
    assert search(spec, Fleet.load("4xA100-80"), global_batch=4096).best.estimate.fits


class Branching(Decoder):
    """Goes one way or the other by a value."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        if tokens.sum() > 3:
            return super().forward(tokens)
        return super().forward(tokens + 1)


def test_control_flow_by_values_is_refused_with_the_line() -> None:
    with pytest.raises(BadInput, match=r"test_describe\.py:\d+: if tokens\.sum\(\) > 3"):
        describe(Branching([(2, 128)], 64, 8, 8, 100), [tokens(16)])


class ByHand(Attention):
    """Attention written out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        return self.out(scores.softmax(-1) @ self.value(x))


def test_attention_that_is_written_out_is_refused_rather_than_guessed() -> None:
    model = Decoder([(2, 128)], 64, 8, 8, 100)
    for layer in model.layers:
        layer.attention = ByHand(64, 8, 8)
    with pytest.raises(BadInput, match="outside scaled_dot_product_attention"):
        describe(model, [tokens(16)])


def test_a_module_without_repeated_layers_or_inputs_is_refused() -> None:
    with pytest.raises(BadInput, match="no repeated layers"):
        describe(nn.Linear(4, 4), [torch.zeros(1, 4)])
    with pytest.raises(BadInput, match="no example input"):
        describe(Decoder([(2, 128)], 64, 8, 8, 100), [])


def test_a_described_model_is_planned_like_a_named_one() -> None:
    with torch.device("meta"):
        model = Decoder([(32, 14336)], 4096, 32, 8, 128256)
    spec: ModelSpec = describe(model, [tokens(8192)], name="llama-3-8b")
    fleet = Fleet.load("8xA100-80")
    assert search(spec, fleet).best.plan == search(named("llama-3-8b"), fleet).best.plan
