"""Clean a folder of images: size, shape, blur, the same file twice, and pictures that look the same.

Blur is the variance of the Laplacian of the grey picture (Pech-Pacheco et al. 2000), at most 512 pixels wide. Pictures look the
same where few of the 64 bits of their difference hashes differ (each bit: is a pixel of the 9 x 8 grey picture darker than its
right neighbour). All pairs that near are found: hashes that differ in at most d bits agree on one of d + 1 slices of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from headwater.core.yaml_file import Part
from headwater.data.cleaning.batch import Removal
from headwater.data.cleaning.sources import printable

HASH_BITS = 64
BLUR_WIDTH = 512


class ImageStage(Part):
    """Base of the stages for images."""

    name: ClassVar[str]


class ImageFile(ImageStage):
    """Keep files that open as images and are not larger than this."""

    name: ClassVar[str] = "image_file"

    most_mib: int = Field(64, ge=1)
    most_megapixels: int = Field(100, ge=1, description="Refused by the header, before anything is unpacked.")


class ImageSize(ImageStage):
    """Keep images of a certain size, in pixels."""

    name: ClassVar[str] = "image_size"

    least_width: int = Field(64, ge=1)
    least_height: int = Field(64, ge=1)
    most_ratio: float = Field(5.0, ge=1, description="Of the longer side to the shorter.")


class Blur(ImageStage):
    """Keep images that are sharp enough."""

    name: ClassVar[str] = "blur"

    least: float = Field(30.0, ge=0)


class SameFile(ImageStage):
    """Keep one of the files with the same bytes: the one whose path comes first."""

    name: ClassVar[str] = "same_file"


class LooksTheSame(ImageStage):
    """Keep no two images whose hashes differ in at most so many bits: the larger stays, then the one with the lower digest."""

    name: ClassVar[str] = "looks_the_same"

    bits: int = Field(4, ge=0, le=16)


STAGES: dict[str, type[ImageStage]] = {one.name: one for one in (ImageFile, ImageSize, Blur, SameFile, LooksTheSame)}
"""In the order in which they are applied, whatever the order in the recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of one image file."""

    path: str
    sha256: str
    bytes: int
    form: str = ""
    width: int = 0
    height: int = 0
    blur: float = 0.0
    look: int = 0
    why: Removal | None = None


def look(folder: Path, stages: dict[str, ImageStage], path: Path) -> Seen:
    """Return what is known of a file, and why it goes by itself, if it does."""
    from PIL import Image

    name = printable(str(path.relative_to(folder)))
    limits = stages.get("image_file", ImageFile())
    assert isinstance(limits, ImageFile)
    size = path.stat().st_size
    with path.open("rb") as file:
        known: dict[str, Any] = {"path": name, "sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": size}
    if size > limits.most_mib << 20:
        return Seen(**known, why=Removal("image_file", "large", size / (1 << 20), limits.most_mib))
    try:
        with Image.open(path) as opened:
            width, height = opened.size
            known |= {"form": opened.format or "", "width": width, "height": height}
            if width * height > limits.most_megapixels * 1_000_000:
                return Seen(**known, why=Removal("image_file", "pixels", width * height / 1e6, limits.most_megapixels))
            grey = opened.convert("L")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Seen(**known, why=Removal("image_file", "broken", None, None))
    known |= {"blur": _sharpness(grey), "look": _difference_hash(grey)}
    return Seen(**known, why=_judged(stages, width, height, known["blur"]))


def _judged(stages: dict[str, ImageStage], width: int, height: int, blur: float) -> Removal | None:
    size, sharp = stages.get("image_size"), stages.get("blur")
    if isinstance(size, ImageSize):
        ratio = max(width, height) / min(width, height)
        if width < size.least_width:
            return Removal(size.name, "narrow", width, size.least_width)
        if height < size.least_height:
            return Removal(size.name, "low", height, size.least_height)
        if ratio > size.most_ratio:
            return Removal(size.name, "long", ratio, size.most_ratio)
    if isinstance(sharp, Blur) and blur < sharp.least:
        return Removal(sharp.name, "blurred", blur, sharp.least)
    return None


def _sharpness(grey: Any) -> float:
    if grey.width > BLUR_WIDTH:
        grey = grey.resize((BLUR_WIDTH, max(1, round(grey.height * BLUR_WIDTH / grey.width))))
    pixels = np.asarray(grey, dtype=np.float64)
    if min(pixels.shape) < 3:
        return 0.0
    middle = pixels[1:-1, 1:-1]
    around = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:]
    return float((around - 4 * middle).var())


def _difference_hash(grey: Any) -> int:
    pixels = np.asarray(grey.resize((9, 8)), dtype=np.int16)
    return int.from_bytes(np.packbits(pixels[:, :-1] < pixels[:, 1:]).tobytes(), "big")


def alike(looks: npt.NDArray[np.uint64], bits: int) -> list[tuple[int, int]]:
    """Return all pairs, by place, whose hashes differ in at most `bits` bits; each once, the lower place first."""
    found: set[tuple[int, int]] = set()
    edges = np.linspace(0, HASH_BITS, bits + 2).astype(int)
    for low, high in pairwise(edges.tolist()):
        part = (looks >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(part, kind="stable")
        for same in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
            for place, one in enumerate(same.tolist()):
                others = same[place + 1 :]
                near = others[np.bitwise_count(looks[others] ^ looks[one]) <= bits]
                found.update((min(one, other), max(one, other)) for other in near.tolist())
    return sorted(found)


def decide(seen: Sequence[Seen], stages: dict[str, ImageStage]) -> list[tuple[Removal | None, str]]:
    """Return, per file, why it goes, if it does, and which file stays in its place."""
    verdicts: list[tuple[Removal | None, str]] = [(one.why, "") for one in seen]
    if "same_file" in stages:
        first: dict[str, int] = {}
        for place in sorted(range(len(seen)), key=lambda place: seen[place].path):
            if verdicts[place][0] is None and (kept := first.setdefault(seen[place].sha256, place)) != place:
                verdicts[place] = Removal("same_file", "same", None, None), seen[kept].path
    stage = stages.get("looks_the_same")
    if isinstance(stage, LooksTheSame):
        left = [place for place, (why, _) in enumerate(verdicts) if why is None]
        left.sort(key=lambda place: (-seen[place].width * seen[place].height, seen[place].sha256, seen[place].path))
        looks = np.array([seen[place].look for place in left], dtype=np.uint64)
        for one, other in alike(looks, stage.bits):
            if verdicts[left[one]][0] is None and verdicts[left[other]][0] is None:
                differ = (seen[left[one]].look ^ seen[left[other]].look).bit_count()
                verdicts[left[other]] = Removal(stage.name, "alike", differ, stage.bits), seen[left[one]].path
    return verdicts
