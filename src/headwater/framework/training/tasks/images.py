"""Pictures in a folder for each class, and a small convolutional network that tells them apart.

Import it only inside a function: it imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from headwater.core.errors import BadInput
from headwater.framework.training.course import Indices

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
HELD_OUT = 0.2
PORTION = 256
Pictures = npt.NDArray[np.float32]


def read(files: Sequence[Path], side: int) -> Pictures:
    """Return pictures as numbers around 0, [n, 3, side, side]. Raises BadInput naming a file that is no picture."""
    from PIL import Image, UnidentifiedImageError

    found = np.empty((len(files), 3, side, side), np.float32)
    for place, file in enumerate(files):
        try:
            with Image.open(file) as picture:
                pixels = np.asarray(picture.convert("RGB").resize((side, side)), np.float32)
        except (UnidentifiedImageError, OSError, ValueError) as error:
            raise BadInput(f"This is no picture: {str(error)[:100]}.", "Remove it or replace it.", where=file.name) from error
        found[place] = pixels.transpose(2, 0, 1) / 127.5 - 1.0
    return found


def by_class(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the pictures below a folder and the class of each: the name of the folder that holds it. Raises BadInput."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    names = [path.parent.name for path in files]
    if len(set(names)) < 2:
        raise BadInput(f"{len(files)} pictures of {len(set(names))} classes.", "Put each class's pictures into a folder of its own.")
    return files, names


class Network(nn.Module):
    """Three rounds of convolution and pooling, then a linear map: pictures [n, 3, side, side] to logits [n, classes]."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width)
        self.rounds = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(4, one) for one in widths[1:])
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures
        for convolution, norm in zip(self.rounds, self.norms, strict=True):
            x = functional.max_pool2d(functional.relu(norm(convolution(x))), 2)
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


class Images:
    """Pictures with classes, a fifth held out."""

    unit = "images"

    def __init__(self, folder: Path, *, side: int, width: int, seed: int) -> None:
        """Read the pictures below a folder. Raises BadInput."""
        files, names = by_class(folder)
        self.classes = sorted(set(names))
        self.width, self.seed, self.side = width, seed, side
        order = np.random.default_rng(seed).permutation(len(files))
        pictures = read([files[place] for place in order], side)
        labels = np.array([self.classes.index(names[place]) for place in order], np.int64)
        held = max(1, int(len(files) * HELD_OUT))
        self.pictures, self.labels = torch.from_numpy(pictures[held:]), torch.from_numpy(labels[held:])
        self.held_pictures, self.held_labels = torch.from_numpy(pictures[:held]), torch.from_numpy(labels[:held])

    def model(self) -> nn.Module:
        """Return the untrained network."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return Network(self.width, len(self.classes))

    def count(self) -> int:
        """Return how many pictures there are to learn from."""
        return len(self.labels)

    def loss(self, model: nn.Module, examples: Indices, device: str) -> tuple[Tensor, int]:
        """Return the summed cross-entropy."""
        chosen = torch.from_numpy(examples)
        logits = model(self.pictures[chosen].to(device))
        return functional.cross_entropy(logits.float(), self.labels[chosen].to(device), reduction="sum"), len(examples)

    def evaluate(self, model: nn.Module, device: str) -> Mapping[str, float]:
        """Return mean loss and accuracy on the pictures held out."""
        portions = [model(part.to(device)).float().cpu() for part in torch.split(self.held_pictures, PORTION)]
        logits = torch.cat(portions)
        accuracy = float((logits.argmax(-1) == self.held_labels).double().mean())
        return {"loss": float(functional.cross_entropy(logits, self.held_labels)), "accuracy": accuracy}
