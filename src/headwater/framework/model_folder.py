"""A model's folder: weights, architecture, signature and metrics. The same model gives the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import Broken
from headwater.core.tabular import SIGNATURE_FILE, read_signature
from headwater.framework.architecture import ARCHITECTURE_FILE, METRICS_FILE, STATE_FILE, read_architecture

if TYPE_CHECKING:
    from headwater.framework.mlp import MLP


def save_model(folder: Path, model: MLP, metrics: dict[str, Any]) -> None:
    """Write a model into a new folder."""
    import torch

    folder.mkdir(parents=True)
    torch.save(model.state_dict(), folder / STATE_FILE)
    write_json(folder / ARCHITECTURE_FILE, model.architecture.as_json())
    write_json(folder / SIGNATURE_FILE, model.signature.model_dump(mode="json"))
    write_json(folder / METRICS_FILE, metrics)


def load_model(folder: Path) -> MLP:
    """Return the model in a folder, ready to answer. Only tensors are read, never code. Raises Broken."""
    import pickle

    import torch

    from headwater.framework.mlp import MLP

    model = MLP(read_signature(folder), read_architecture(folder))
    try:
        model.load_state_dict(torch.load(folder / STATE_FILE, weights_only=True, map_location="cpu"))
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0] or "the file ends early"
        raise Broken(f"The model's weights cannot be read: {reason}.", "Train the model again.", where=str(folder / STATE_FILE)) from error
    return model.eval()


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON text."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n", encoding="utf-8")
