"""Compare a model's three forms on the same rows: eager, exported program, ONNX Runtime. Pure NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.core.errors import GateClosed, StepFailed

if TYPE_CHECKING:
    import numpy.typing as npt

    Answers = npt.NDArray[np.float64]


def compare(eager: Answers, others: Mapping[str, Answers], tolerance: float) -> dict[str, Any]:
    """Return how far each form is from eager, and whether all lie within the tolerance.

    Per form: the largest absolute difference of a probability, the rows whose most likely class differs,
    and the row with the largest difference. Raises StepFailed where a form's answers have another shape or are not finite.
    """
    forms = {name: _distance(name, eager, answers) for name, answers in others.items()}
    worst = max(form["largest_difference"] for form in forms.values())
    return {"rows": len(eager), "tolerance": tolerance, "forms": forms, "agree": bool(worst <= tolerance)}


def _distance(name: str, eager: Answers, answers: Answers) -> dict[str, Any]:
    if answers.shape != eager.shape or not np.isfinite(answers).all():
        raise StepFailed(f"The form '{name}' answers {answers.shape}, eager {eager.shape}, or not with finite numbers.", "Report this.")
    apart = np.abs(answers - eager).max(axis=1)
    return {
        "largest_difference": float(apart.max()),
        "largest_difference_row": int(apart.argmax()),
        "classes_differ": int((answers.argmax(axis=1) != eager.argmax(axis=1)).sum()),
    }


def refuse_unless_equal(parity: Mapping[str, Any]) -> None:
    """Raise GateClosed with the figures if a form lies outside the tolerance."""
    if parity["agree"]:
        return
    name, form = max(parity["forms"].items(), key=lambda item: float(item[1]["largest_difference"]))
    raise GateClosed(
        f"The form '{name}' differs from the eager model by {form['largest_difference']:.3g} in test row {form['largest_difference_row']}, "
        f"and in the class of {form['classes_differ']} of {parity['rows']} rows; the tolerance is {parity['tolerance']:g}.",
        "Raise 'tolerance' only if such a difference does not matter to your use.",
    )
