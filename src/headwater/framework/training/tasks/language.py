"""A small decoder over text: bytes in, the next byte out. LoRA adapts a trained one by a few weights of low rank.

The decoder is the plain pre-norm transformer with rotary positions (Su et al. 2021), RMSNorm and SwiGLU, as LLaMA has it. Bytes are
the vocabulary, so that any language can be read without a tokenizer. Import it only inside a function: it imports torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from headwater.core.errors import BadInput
from headwater.framework.training.constrained import END, Rules
from headwater.framework.training.course import Indices

SCHEMA = "headwater.decoder/1"
VOCABULARY = 256
ROTARY_BASE = 10_000.0
HELD_OUT = 0.1
MOST_WINDOWS = 64
"""Windows of the held-out text that an evaluation reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The decoder's dimensions; `width` is a multiple of `heads`."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    window: int = 128
    """Bytes that are looked at together."""


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.size = shape.heads, shape.width // shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        query, key, value = self.qkv(x).view(batch, length, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(rotated(query), rotated(key), value, is_causal=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))  # type: ignore[no-any-return]


def rotated(x: Tensor) -> Tensor:
    """Return queries or keys [batch, heads, length, size] turned by angles that grow with their places."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2], device=x.device)[:, None] * ROTARY_BASE ** -(torch.arange(half, device=x.device) / half)
    cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class Block(nn.Module):
    """Attention, then a gated feed-forward layer, each on what is normed and added to what came in."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention, self.norm, self.norm_after = Attention(shape), nn.RMSNorm(shape.width), nn.RMSNorm(shape.width)
        self.gate_up = nn.Linear(shape.width, 4 * shape.width, bias=False)
        self.down = nn.Linear(2 * shape.width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm(x))
        gate, up = self.gate_up(self.norm_after(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Bytes [batch, length] to logits of the byte after each [batch, length, 256]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(VOCABULARY, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width)
        self.head = nn.Linear(shape.width, VOCABULARY, bias=False)
        self.apply(_begin)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


def _begin(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)


class Low(nn.Module):
    """A linear map with a correction of low rank: W x + (alpha / rank) B A x, where only A and B learn (Hu et al. 2021, LoRA)."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base, self.factor = base, alpha / rank
        self.a = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))
        base.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.factor * functional.linear(functional.linear(x, self.a), self.b)  # type: ignore[no-any-return]

    def merged(self) -> nn.Linear:
        """Return one plain linear map that gives the same."""
        whole = nn.Linear(self.base.in_features, self.base.out_features, bias=self.base.bias is not None)
        whole.load_state_dict(self.base.state_dict())
        with torch.no_grad():
            whole.weight += self.factor * (self.b @ self.a)
        return whole


def with_lora(model: nn.Module, rank: int, alpha: float, at: tuple[str, ...] = ("qkv", "out", "gate_up", "down")) -> nn.Module:
    """Return the model with every linear map of these names corrected at low rank, and everything else held as it is."""
    model.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name in at and isinstance(child, nn.Linear):
                setattr(parent, name, Low(child, rank, alpha))
    return model


def without_lora(model: nn.Module) -> nn.Module:
    """Return the model with all corrections merged into plain linear maps."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Low):
                setattr(parent, name, child.merged())
    return model


class Language:
    """Windows of a text, of which the last tenth is held out."""

    unit = "tokens"

    def __init__(self, text: bytes, shape: Shape, *, seed: int = 0, base: nn.Module | None = None, rank: int = 0) -> None:
        """Take a text. With `rank`, a copy of `base` is adapted by LoRA of that rank. Raises BadInput for a text that is too short."""
        if shape.width % shape.heads or (shape.width // shape.heads) % 2:
            raise BadInput(f"Width {shape.width} and {shape.heads} heads.", "Width is a multiple of twice the heads.")
        held = int(len(text) * HELD_OUT)
        if held <= shape.window:
            least = math.ceil((shape.window + 1) / HELD_OUT)
            raise BadInput(f"The text has {len(text)} bytes, too few for windows of {shape.window}.", f"Give at least {least} bytes.")
        data = np.frombuffer(text, np.uint8)
        self.shape, self.seed, self.base, self.rank = shape, seed, base, rank
        self.kept, self.held = data[:-held], data[-held:]

    def model(self) -> nn.Module:
        """Return the decoder, or the adapted copy of the base."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            if self.base is None:
                return Decoder(self.shape)
            copy = Decoder(self.shape)
            copy.load_state_dict(self.base.state_dict())
            return with_lora(copy, self.rank, 2.0 * self.rank)

    def count(self) -> int:
        """Return how many windows there are, each beginning where the one before ends."""
        return (len(self.kept) - 1) // self.shape.window

    def loss(self, model: nn.Module, examples: Indices, device: str) -> tuple[Tensor, int]:
        """Return the summed cross-entropy, in nats, of every next byte."""
        return _cross_entropy(model, _windows(self.kept, examples, self.shape.window), device)

    def held_windows(self) -> Tensor:
        """Return windows of the held-out text, each with the byte after it: [windows, window + 1]."""
        places = np.arange(min((len(self.held) - 1) // self.shape.window, MOST_WINDOWS))
        return _windows(self.held, places, self.shape.window)

    def evaluate(self, model: nn.Module, device: str) -> Mapping[str, float]:
        """Return the mean loss on the held-out text, and the same in bits a byte."""
        loss, units = _cross_entropy(model, self.held_windows(), device)
        mean = float(loss) / units
        return {"loss": mean, "bits_per_byte": mean / math.log(2)}


def _windows(data: npt.NDArray[np.uint8], places: Indices, window: int) -> Tensor:
    found = np.stack([data[place * window : (place + 1) * window + 1] for place in places])
    return torch.from_numpy(found.astype(np.int64))


def _cross_entropy(model: nn.Module, windows: Tensor, device: str) -> tuple[Tensor, int]:
    windows = windows.to(device)
    logits = model(windows[:, :-1])
    targets = windows[:, 1:].reshape(-1)
    return functional.cross_entropy(logits.float().reshape(-1, VOCABULARY), targets, reduction="sum"), targets.numel()


def save(folder: Path, model: Decoder) -> None:
    """Write a decoder into a new folder: weights as safetensors, and its dimensions."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "shape.json").write_text(
        json.dumps({"schema": "headwater.decoder/1", **asdict(model.shape)}, indent=1) + "\n", encoding="utf-8"
    )


def load(folder: Path) -> Decoder:
    """Return the decoder in a folder, ready to answer. Raises BadInput where there is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        told: dict[str, Any] = json.loads((folder / "shape.json").read_text(encoding="utf-8"))
        if told.pop("schema") != SCHEMA:
            raise ValueError("it is of another schema")
        model = Decoder(Shape(**told))
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BadInput(
            f"No decoder can be read there: {str(error)[:200]}.", "Give what framework.train_text made.", where=str(folder)
        ) from error
    return model.eval()


def generate(
    model: nn.Module, prompt: bytes, length: int, *, window: int, temperature: float = 0.0, seed: int = 0, rules: Rules | None = None
) -> bytes:
    """Return the prompt's continuation: the likeliest bytes at temperature 0, else drawn with the seed; within the rules, if any.

    It ends after `length` bytes, or where the rules say that the text is whole.
    """
    generator, begun = torch.Generator().manual_seed(seed), prompt or b"\n"
    tokens = list(begun)
    with torch.no_grad():
        for _ in range(length):
            logits = model(torch.tensor([tokens[-window:]]))[0, -1]
            chosen = int(_drawn(logits if rules is None else rules.allowed(logits), temperature, generator))
            if rules is not None and chosen == END:
                break
            tokens.append(chosen)
            if rules is not None and rules.take(chosen):
                break
    return bytes(tokens[len(begun) :])


def _drawn(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    return logits.argmax() if temperature <= 0 else torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[0]
