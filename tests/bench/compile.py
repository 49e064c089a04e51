"""Compiled and exported forms of one module beside eager, on the same cores, asked in turn: training, small-batch inference, answers."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headwater.core.errors import HeadwaterError
from headwater.framework.program.frozen import Form, freeze
from headwater.framework.runtimes.runtime import RUNTIMES, deploy, load
from headwater.framework.training.tasks.language import Decoder, Shape
from tests.bench._report import Figure, main

SHAPE = Shape(layers=4, width=1024, heads=16, window=256)
"""Of the decoder that is asked: 63 million parameters, as large as the one whose forms were measured for the design."""
BYTES = Shape(layers=4, width=384, heads=6, window=256)
"""Of a decoder over bytes, whose head is small: nothing is left for a compiler to gather."""
TRAINED_ON = (4, 256)
ASKED = (1, 8)
STEPS, ROUNDS = 8, 40


class Layer(nn.Module):
    """A layer of GPT-2, as people write it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        query, key, value = self.qkv(self.norm(x)).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm_after(x))))


class GPT(nn.Module):
    """GPT-2 with 4 layers of width 256 and its vocabulary of 50,257: 29 million parameters, most in the tokens' vectors and head."""

    vocabulary = 50_257

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(self.vocabulary, 256), nn.Embedding(512, 256)
        self.layers = nn.ModuleList(Layer(256, 4) for _ in range(4))
        self.norm, self.head = nn.LayerNorm(256), nn.Linear(256, self.vocabulary, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.places(torch.arange(tokens.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class Scored(nn.Module):
    """A model with its loss, so that both are compiled together."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = self.model(tokens)
        return nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return each call's seconds, one after the other in every round, so that a busy machine slows all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(3):
            call()
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
    return times


def trainer(model: nn.Module, vocabulary: int, *, compiled: bool) -> Callable[[], None]:
    """Return a function that does one training step: loss, gradients, and AdamW's update, all eager or all compiled."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loss, update = (torch.compile(model), torch.compile(optimizer.step)) if compiled else (model, optimizer.step)
    tokens = torch.randint(0, vocabulary, TRAINED_ON, generator=torch.Generator().manual_seed(0))

    def step() -> None:
        optimizer.zero_grad()
        loss(tokens).backward()
        update()

    return step


def stepped(name: str, make: Callable[[], nn.Module], vocabulary: int, *, at_least: float | None) -> list[Figure]:
    """Time a training step of a model, eager and compiled."""
    torch.manual_seed(0)
    plain, other = Scored(make()), Scored(make())
    other.load_state_dict(plain.state_dict())
    began = time.perf_counter()
    calls = {"eager": trainer(plain, vocabulary, compiled=False), "compiled": trainer(other, vocabulary, compiled=True)}
    calls["compiled"]()
    compiling = time.perf_counter() - began
    times = {kind: statistics.median(told) for kind, told in in_turn(calls, STEPS).items()}
    size = sum(one.numel() for one in plain.parameters()) / 1e6
    told = f"{TRAINED_ON[0]} x {TRAINED_ON[1]} tokens, {size:.0f}M parameters, median of {STEPS}"
    return [
        Figure(name=f"{name}, training step, eager", value=1e3 * times["eager"], unit="ms", note=told),
        Figure(name=f"{name}, training step, compiled", value=1e3 * times["compiled"], unit="ms", note=f"compiled in {compiling:.0f} s"),
        Figure(name=f"{name}, eager over compiled", value=times["eager"] / times["compiled"], unit="x", at_least=at_least),
    ]


def asked() -> list[Figure]:
    """Time one short answer in every form, and hold each form's answers against eager."""
    torch.manual_seed(0)
    model = Decoder(SHAPE).eval()
    example = torch.randint(0, 256, (2, 16))
    program = freeze(model, [example], dynamic=[{0: ("n", 1, 8), 1: ("t", 2, 256)}])
    tokens = torch.randint(0, 256, ASKED, generator=torch.Generator().manual_seed(1))
    compiled = torch.compile(model)

    def inferred(ask: Callable[[torch.Tensor], Any]) -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode():
                return ask(tokens)

        return call

    calls: dict[str, Callable[[], Any]] = {"eager": inferred(model), "torch.compile": inferred(compiled)}
    forms: dict[str, Form] = {"frozen": program.forms[0]}
    with tempfile.TemporaryDirectory() as folder:
        for name in RUNTIMES.names():
            if name == "vllm":
                continue
            try:
                forms[name] = deploy(program, name, Path(folder) / name)
            except HeadwaterError as error:
                print(f"{name} is left out: {error}")
                continue
            runner, array = load(Path(folder) / name), tokens.numpy()
            calls[name] = lambda runner=runner, array=array: runner.run(array)  # type: ignore[misc]
        times = {name: statistics.median(told) for name, told in in_turn(calls, ROUNDS).items()}
    best = min((name for name in times if name != "eager"), key=times.__getitem__)
    cosine = min(form.cosine for form in forms.values())
    rows = [Figure(name=f"one answer, {name}", value=1e3 * told, unit="ms") for name, told in times.items()]
    return [
        *rows,
        Figure(name="one answer, eager over the best form", value=times["eager"] / times[best], unit="x", at_least=2.5, note=best),
        Figure(name="cosine with eager, least of all forms", value=cosine, unit="", at_least=0.9999, note=", ".join(forms)),
    ]


def measure() -> Sequence[Figure]:
    """Return every figure."""
    return [*stepped("GPT-2", GPT, GPT.vocabulary, at_least=1.6), *stepped("bytes", lambda: Decoder(BYTES), 256, at_least=None), *asked()]


if __name__ == "__main__":
    main("compile", measure)
