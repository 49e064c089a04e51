"""Examples to try a recipe with, made from a seed: shapes with captions, sentences, and a small town as a graph of knowledge."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
SHAPES = ("circle", "square", "triangle", "cross")
COLOURS = {"red": (214, 60, 50), "green": (60, 160, 70), "blue": (50, 90, 200), "yellow": (225, 190, 40)}
SIZES = {"small": 5, "large": 9}
SIDE = 24
CITIES = ("Haidian", "Chaoyang", "Tongzhou", "Daxing", "Shunyi", "Fangshan", "Changping", "Miyun")
WORK = ("baker", "teacher", "welder", "nurse", "driver", "painter", "farmer", "clerk", "cook", "tailor")
FAMILY = ("Wang", "Li", "Zhang", "Liu", "Chen", "Yang", "Zhao", "Huang", "Zhou", "Wu")
GIVEN = ("Wei", "Fang", "Na", "Min", "Jing", "Qiang", "Lei", "Yan", "Tao", "Juan", "Chao", "Ping")


def shapes(folder: Path, count: int, seed: int) -> None:
    """Write pictures of shapes, `images/CLASS/NUMBER.png`, and `captions.tsv` with what each shows."""
    from PIL import Image

    random = np.random.default_rng(seed)
    captions = []
    kinds = list(itertools.product(SHAPES, COLOURS, SIZES))
    for number in range(count):
        shape, colour, size = kinds[int(random.integers(len(kinds)))]
        name = f"images/{shape}/{number:05d}.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_picture(shape, COLOURS[colour], SIZES[size], random)).save(path)
        captions.append(f"{name}\ta {size} {colour} {shape}\n")
    (folder / "captions.tsv").write_text("".join(captions), encoding="utf-8")


def _picture(
    shape: str, colour: tuple[int, int, int], radius: int, random: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return a picture of a shape somewhere on a noisy ground."""
    ground = random.normal(200, 18, (SIDE, SIDE, 3))
    x0, y0 = random.integers(radius, SIDE - radius, 2)
    y, x = np.mgrid[:SIDE, :SIDE]
    across, down = np.abs(x - x0), np.abs(y - y0)
    inside = {
        "circle": across**2 + down**2 <= radius**2,
        "square": np.maximum(across, down) <= 0.8 * radius,
        "triangle": (y <= y0 + 0.7 * radius) & (y - y0 >= 1.8 * across - 1.1 * radius),
        "cross": (np.minimum(across, down) <= 0.25 * radius) & (np.maximum(across, down) <= radius),
    }[shape]
    ground[inside] = np.array(colour) + random.normal(0, 12, (int(inside.sum()), 3))
    return ground.clip(0, 255).astype(np.uint8)


def sentences(folder: Path, count: int, seed: int) -> None:
    """Write `text.txt`: sentences about who does what where, as JSON-like records and as prose."""
    random = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        person = f"{FAMILY[int(random.integers(len(FAMILY)))]} {GIVEN[int(random.integers(len(GIVEN)))]}"
        work, city, age = WORK[int(random.integers(len(WORK)))], CITIES[int(random.integers(len(CITIES)))], int(random.integers(20, 70))
        prose = f"{person} is a {work} of {age} who lives in {city}."
        lines.append(prose if random.random() < 0.5 else f'{{"name": "{person}", "work": "{work}", "city": "{city}", "age": {age}}}')
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def town(folder: Path, count: int, seed: int) -> None:
    """Write a graph of knowledge: `entities.tsv` (name, text) and `triples.tsv` (head, relation, tail).

    Where somebody lives stands in the words about them, and who knows whom follows from where they live: words and graph each tell
    something that the other does not.
    """
    random = np.random.default_rng(seed)
    entities = {place: f"{place} is a district of the city." for place in CITIES} | {
        trade: f"To be a {trade} is a trade." for trade in WORK
    }
    triples, homes = [], {}
    for number in range(count):
        name = f"{FAMILY[int(random.integers(len(FAMILY)))]} {GIVEN[int(random.integers(len(GIVEN)))]} {number}"
        city, work = CITIES[int(random.integers(len(CITIES)))], WORK[int(random.integers(len(WORK)))]
        homes[name] = city
        entities[name] = f"{name} has a flat in {city} and earns a living as a {work}."
        triples += [(name, "lives_in", city), (name, "works_as", work)]
    people = list(homes)
    for name in people:
        neighbours = [one for one in people if homes[one] == homes[name] and one != name]
        triples += [(name, "knows", neighbours[int(random.integers(len(neighbours)))]) for _ in range(2) if neighbours]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "entities.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in entities.items()), encoding="utf-8")
    (folder / "triples.tsv").write_text("".join("\t".join(one) + "\n" for one in dict.fromkeys(triples)), encoding="utf-8")


KINDS = {"shapes": shapes, "sentences": sentences, "town": town}
