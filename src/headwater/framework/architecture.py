"""The shape of a model, and the files of a model's folder. Knows no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headwater.core.errors import Broken

STATE_FILE = "state.pt"
ARCHITECTURE_FILE = "architecture.json"
METRICS_FILE = "metrics.json"

Width = Annotated[int, Field(ge=1, le=4096)]


class Architecture(BaseModel):
    """A multilayer perceptron over the columns of a signature."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Width, ...] = Field((32, 16), max_length=8, description="Width of each hidden layer.")
    dropout: float = Field(0.0, ge=0, lt=1)
    linear: Literal["float32", "int8"] = Field("float32", description="How weights are held and multiplied.")

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return self.model_dump(mode="json")


def read_architecture(folder: Path) -> Architecture:
    """Return the architecture of a model's folder. Raises Broken where it cannot be read."""
    try:
        return Architecture.model_validate_json((folder / ARCHITECTURE_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise Broken(
            f"The model's architecture cannot be read: {error}.", "Train the model again.", where=str(folder / ARCHITECTURE_FILE)
        ) from error
