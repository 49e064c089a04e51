"""Specs by name, from a person's file, or from dimensions; never from weights.

`load` takes a name such as llama-3-70b, or the path of a TOML or JSON file with the dimensions. A Hugging Face
`config.json` is read as it is: its keys hidden_size, intermediate_size, num_hidden_layers and so on are known.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from headwater.core.errors import BadFile, BadInput, NotFound, Problem
from headwater.framework.program.model_spec import ModelSpec, decoder

WHOLE = ("layers", "hidden", "ffn", "heads", "kv_heads", "head_dim", "vocab", "seq_len", "experts", "top_k")
YES_NO = ("gated", "tied")
NEEDED = ("layers", "hidden", "ffn", "heads", "vocab", "seq_len")
HUGGING_FACE = {
    "num_hidden_layers": "layers",
    "hidden_size": "hidden",
    "intermediate_size": "ffn",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "head_dim": "head_dim",
    "vocab_size": "vocab",
    "max_position_embeddings": "seq_len",
    "num_local_experts": "experts",
    "num_experts": "experts",
    "num_experts_per_tok": "top_k",
    "tie_word_embeddings": "tied",
}
GATED_ACTIVATIONS = ("silu", "swish")
MOST_BYTES = 1 << 20
HINT = "Give TOML or JSON with the model's dimensions."


@cache
def _shipped() -> Mapping[str, dict[str, Any]]:
    told = tomllib.loads(files("headwater").joinpath("framework", "program", "models.toml").read_text(encoding="utf-8"))
    return {name: row for name, row in told.items() if isinstance(row, dict)}


def names() -> tuple[str, ...]:
    """Return the names that are known."""
    return tuple(_shipped())


def named(name: str, *, seq_len: int | None = None) -> ModelSpec:
    """Return a known model's spec, at another sequence length where one is given. Raises NotFound with the nearest names."""
    row = _shipped().get(name.lower())
    if row is None:
        close = difflib.get_close_matches(name.lower(), names(), n=3, cutoff=0.5)
        raise NotFound(f"No model '{name[:80]}'.", f"{'Near to it' if close else 'Known'}: {', '.join(close or names())}; or give a file.")
    spec = decoder(name=name.lower(), **row)
    return spec if seq_len is None else replace(spec, seq_len=seq_len)


def load(model: str, *, seq_len: int | None = None) -> ModelSpec:
    """Return the spec of a name or of a file with dimensions."""
    path = Path(model)
    if path.suffix.lower() not in (".toml", ".json"):
        return named(model, seq_len=seq_len)
    return from_dimensions(_read(path), name=path.stem, seq_len=seq_len, where=str(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"The file is larger than {MOST_BYTES} bytes.", "A model's dimensions take a few lines.", where=str(path))
        text = path.read_text(encoding="utf-8")
        told = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except (OSError, ValueError) as error:
        raise BadInput(f"The model file cannot be read: {error}.", HINT, where=str(path)) from error
    if not isinstance(told, dict):
        raise BadInput("The model file holds no table.", HINT, where=str(path))
    return told


def from_dimensions(told: Mapping[str, Any], *, name: str, seq_len: int | None = None, where: str = "model") -> ModelSpec:
    """Return the spec of a table of dimensions, ours or Hugging Face's. Raises BadFile with every problem."""
    given = _renamed(told) if "hidden_size" in told else dict(told)
    if seq_len is not None:
        given["seq_len"] = seq_len
    known = (*WHOLE, *YES_NO)
    wrong = [Problem(where=f"{where} {key}", what="is not known.", hint=f"Known: {', '.join(known)}.") for key in given if key not in known]
    wrong += [Problem(where=f"{where} {key}", what="is missing.") for key in NEEDED if key not in given]
    for key in known:
        if key in WHOLE and key in given and not _whole(given[key]):
            wrong.append(Problem(where=f"{where} {key}", what=f"is {given[key]!r}, not a whole number above 0."))
        if key in YES_NO and not isinstance(given.get(key, True), bool):
            wrong.append(Problem(where=f"{where} {key}", what=f"is {given[key]!r}, neither true nor false."))
    if wrong:
        raise BadFile(wrong, "model file")
    return decoder(name=name, **given)


def _renamed(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return ours for Hugging Face's keys; what does not bear on a plan is dropped, and so is what is null."""
    given = {ours: told[theirs] for theirs, ours in HUGGING_FACE.items() if told.get(theirs) is not None}
    gated = str(told.get("hidden_act", "silu")) in GATED_ACTIVATIONS or str(told.get("model_type", "")).startswith("gemma")
    return given | {"gated": gated}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
