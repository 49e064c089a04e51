"""A graph of knowledge and the words about its entities: which tail fits a head and a relation?

An entity is a vector of its own plus what its words say; a triple's score is DistMult's product (Yang et al. 2015). Left without words,
it knows of an entity only what the graph says. Import it only inside a function: it imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from headwater.core.errors import BadInput
from headwater.framework.training.course import Indices

BUCKETS = 4096
LONGEST = 48
"""Words of a text that are read."""
HELD_OUT = 0.15


class Knowledge(nn.Module):
    """Heads and relations [n] to scores of every entity as the tail [n, entities]."""

    words: Tensor

    def __init__(self, words: Tensor, relations: int, dimensions: int, *, read: bool) -> None:
        super().__init__()
        self.entity, self.relation = nn.Embedding(len(words), dimensions), nn.Embedding(relations, dimensions)
        self.word = nn.EmbeddingBag(BUCKETS, dimensions, mode="mean", padding_idx=0)
        self.mix = nn.Linear(dimensions, dimensions)
        self.read = read
        self.register_buffer("words", words)
        nn.init.normal_(self.entity.weight, std=0.1)
        nn.init.normal_(self.relation.weight, std=0.5)

    def entities(self) -> Tensor:
        """Return what every entity is, [entities, dimensions]."""
        own = self.entity.weight
        return own + self.mix(torch.tanh(self.word(self.words))) if self.read else own

    def forward(self, heads: Tensor, relations: Tensor) -> Tensor:
        every = self.entities()
        scores: Tensor = (every[heads] * self.relation(relations)) @ every.T
        return scores


def hashed(text: str) -> list[int]:
    """Return the buckets of a text's words, 1 to BUCKETS - 1, 0 after its end. The hash is FNV-1a, the same everywhere."""
    found = []
    for word in text.lower().split()[:LONGEST]:
        value = 2166136261
        for byte in word.strip(".,;:!?").encode():
            value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
        found.append(1 + value % (BUCKETS - 1))
    return found + [0] * (LONGEST - len(found))


class Links:
    """Triples of a graph, some held out, with the words about each entity."""

    unit = "triples"

    def __init__(self, folder: Path, *, dimensions: int, read: bool, seed: int) -> None:
        """Read `entities.tsv` and `triples.tsv`. Raises BadInput with the line."""
        entities = _rows(folder / "entities.tsv", 2)
        self.names = [name for name, _ in entities]
        places = {name: place for place, name in enumerate(self.names)}
        triples = _rows(folder / "triples.tsv", 3)
        self.relations = sorted({relation for _, relation, _ in triples})
        for number, (head, _, tail) in enumerate(triples, 1):
            if unknown := next((one for one in (head, tail) if one not in places), None):
                raise BadInput(f"'{unknown[:60]}' is no entity.", "Add it to entities.tsv.", where=f"triples.tsv:{number}")
        told = np.array([[places[head], self.relations.index(relation), places[tail]] for head, relation, tail in triples], np.int64)
        told = told[np.random.default_rng(seed).permutation(len(told))]
        held = max(1, int(len(told) * HELD_OUT))
        self.kept, self.held = torch.from_numpy(told[held:]), torch.from_numpy(told[:held])
        self.known: dict[tuple[int, int], set[int]] = {(head, relation): set() for head, relation, _ in told.tolist()}
        for head, relation, tail in told.tolist():
            self.known[head, relation].add(tail)
        self.words = torch.tensor([hashed(text) for _, text in entities])
        self.dimensions, self.read, self.seed = dimensions, read, seed

    def model(self) -> nn.Module:
        """Return the untrained model."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return Knowledge(self.words, len(self.relations), self.dimensions, read=self.read)

    def count(self) -> int:
        """Return how many triples there are to learn from."""
        return len(self.kept)

    def loss(self, model: nn.Module, examples: Indices, device: str) -> tuple[Tensor, int]:
        """Return the summed cross-entropy of each triple's tail among all entities."""
        chosen = self.kept[torch.from_numpy(examples)].to(device)
        logits = model(chosen[:, 0], chosen[:, 1])
        return functional.cross_entropy(logits.float(), chosen[:, 2], reduction="sum"), len(examples)

    def evaluate(self, model: nn.Module, device: str) -> Mapping[str, float]:
        """Return the loss on the held-out triples, the mean reciprocal rank, and how often the tail is the first and among ten.

        Other tails that are true do not count against one ("filtered": Bordes et al. 2013).
        """
        held = self.held.to(device)
        logits = model(held[:, 0], held[:, 1]).float().cpu()
        loss = float(functional.cross_entropy(logits, self.held[:, 2]))
        ranks = []
        for scores, (head, relation, tail) in zip(logits, self.held.tolist(), strict=True):
            others = [one for one in self.known[head, relation] if one != tail]
            scores[others] = -torch.inf
            ranks.append(1 + int((scores > scores[tail]).sum()))
        places = np.array(ranks)
        hits = {f"hits_at_{k}": float((places <= k).mean()) for k in (1, 10)}
        return {"loss": loss, "reciprocal_rank": float((1 / places).mean()), **hits}


def _rows(file: Path, columns: int) -> list[list[str]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"It cannot be read: {error}.", "Give lines of columns with tabs between them.", where=file.name) from error
    rows = [line.split("\t") for line in lines if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) != columns or not all(part.strip() for part in row):
            raise BadInput(f"'{'  '.join(row)[:80]}' has {len(row)} columns.", f"Write {columns}.", where=f"{file.name}:{number}")
    if not rows:
        raise BadInput("It is empty.", "Give at least one line.", where=file.name)
    return rows
