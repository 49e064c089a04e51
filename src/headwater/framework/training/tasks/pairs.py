"""Pictures and words brought into one space, so that each is nearest to what belongs to it (contrastive, as CLIP: Radford et al. 2021).

The loss of a pair depends on the others that pass with it, so `micro` is part of what is learned, and ranks change it too.
Import it only inside a function: it imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from headwater.core.errors import BadInput
from headwater.framework.training.course import Indices
from headwater.framework.training.tasks.images import HELD_OUT, Network, read

LONGEST = 64
"""Bytes of a caption that are read."""
DIMENSIONS = 64


class Words(nn.Module):
    """Bytes [n, length], 0 where there are none, to vectors [n, dimensions]: embedded, convolved, the largest taken."""

    def __init__(self, width: int, dimensions: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, width, padding_idx=0)
        self.near = nn.Conv1d(width, 2 * width, 5, padding=2)
        self.head = nn.Linear(2 * width, dimensions)

    def forward(self, text: Tensor) -> Tensor:
        heard = functional.relu(self.near(self.embed(text).transpose(1, 2)))
        silent = (text == 0).unsqueeze(1)
        return self.head(heard.masked_fill(silent, 0).amax(-1))  # type: ignore[no-any-return]


class Aligned(nn.Module):
    """A picture's and a text's encoder, and how sharply they are told apart. Both give vectors of length 1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pictures, self.words = Network(width, DIMENSIONS), Words(2 * width, DIMENSIONS)
        self.sharpness = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(self, pictures: Tensor, text: Tensor) -> Tensor:
        seen = functional.normalize(self.pictures(pictures).float(), dim=-1)
        read = functional.normalize(self.words(text).float(), dim=-1)
        return self.sharpness.exp().clamp(max=100.0) * seen @ read.T


def as_bytes(captions: Sequence[str]) -> Tensor:
    """Return captions as bytes [n, LONGEST], 0 after their ends."""
    found = np.zeros((len(captions), LONGEST), np.int64)
    for place, caption in enumerate(captions):
        told = caption.encode()[:LONGEST]
        found[place, : len(told)] = list(told)
    return torch.from_numpy(found)


class Pairs:
    """Pictures with captions, as `captions.tsv` names them; a fifth held out."""

    unit = "pairs"

    def __init__(self, folder: Path, *, side: int, width: int, seed: int) -> None:
        """Read `captions.tsv` and the pictures that it names. Raises BadInput with the line."""
        names, captions = _captions(folder)
        order = np.random.default_rng(seed).permutation(len(names))
        pictures = torch.from_numpy(read([folder / names[place] for place in order], side))
        told = [captions[place] for place in order]
        held = max(2, int(len(names) * HELD_OUT))
        self.width, self.seed = width, seed
        self.pictures, self.text, self.captions = pictures[held:], as_bytes(told[held:]), told[held:]
        self.held_pictures, self.held_captions = pictures[:held], told[:held]

    def model(self) -> nn.Module:
        """Return the untrained encoders."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return Aligned(self.width)

    def count(self) -> int:
        """Return how many pairs there are to learn from."""
        return len(self.captions)

    def loss(self, model: nn.Module, examples: Indices, device: str) -> tuple[Tensor, int]:
        """Return the summed cross-entropy both ways; pairs with the same caption all count as right."""
        chosen = torch.from_numpy(examples)
        text = self.text[chosen].to(device)
        logits = model(self.pictures[chosen].to(device), text)
        same = (text[:, None] == text[None]).all(-1).float()
        wanted = same / same.sum(-1, keepdim=True)
        both = functional.cross_entropy(logits, wanted, reduction="sum") + functional.cross_entropy(logits.T, wanted, reduction="sum")
        return both / 2, len(examples)

    def evaluate(self, model: nn.Module, device: str) -> Mapping[str, float]:
        """Return the loss of choosing each held-out picture's caption among all different ones, and how often the first is right."""
        different = sorted(set(self.held_captions))
        places = torch.tensor([different.index(one) for one in self.held_captions])
        logits = model(self.held_pictures.to(device), as_bytes(different).to(device)).float().cpu()
        right = (logits.argmax(-1) == places).double().mean()
        return {"loss": float(functional.cross_entropy(logits, places)), "recall_at_1": float(right), "choices": float(len(different))}


def _captions(folder: Path) -> tuple[list[str], list[str]]:
    try:
        lines = (folder / "captions.tsv").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"captions.tsv cannot be read: {error}.", "Each line is a picture's path, a tab, its caption.") from error
    names, captions = [], []
    for number, line in enumerate(lines, 1):
        name, tab, caption = line.partition("\t")
        path = (folder / name).resolve()
        if not tab or not caption.strip() or not path.is_relative_to(folder.resolve()) or not path.is_file():
            hint = "Write a picture's path within the folder, a tab, and its caption."
            raise BadInput(f"'{line[:80]}' names no picture with a caption.", hint, where=f"captions.tsv:{number}")
        names.append(name)
        captions.append(caption.strip())
    if len(names) < 10:
        raise BadInput(f"There are {len(names)} pairs.", "Give at least 10.", where="captions.tsv")
    return names, captions
