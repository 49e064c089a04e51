"""How well probabilities fit labels. Pure NumPy; each score says over how many rows, or why there is none."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Places = npt.NDArray[np.int64]

SMALLEST_PROBABILITY = 1e-7
HIGHER_IS_BETTER = {"accuracy": True, "balanced_accuracy": True, "auc": True, "log_loss": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One figure over `n` rows; `value` is None where it cannot be measured, and `reason` says why."""

    value: float | None
    n: int
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


def score(probabilities: Floats, labels: Places, *, positive: int) -> dict[str, Score]:
    """Return accuracy, balanced accuracy, AUC and log loss of probabilities [n, classes] against class places [n].

    AUC is that of the class at place `positive` against all others. Log loss is in nats, probabilities
    clipped at 1e-7 (float32 holds no more).
    """
    n = len(labels)
    if n == 0:
        return {name: Score(value=None, n=0, reason="no rows") for name in HIGHER_IS_BETTER}
    right = probabilities.argmax(axis=1) == labels
    of_label = np.clip(probabilities[np.arange(n), labels], SMALLEST_PROBABILITY, 1.0)
    return {
        "accuracy": Score(value=float(right.mean()), n=n),
        "balanced_accuracy": _balanced(right, labels, probabilities.shape[1]),
        "auc": auc(probabilities[:, positive], labels == positive),
        "log_loss": Score(value=float(-np.log(of_label).mean()), n=n),
    }


def _balanced(right: npt.NDArray[np.bool_], labels: Places, classes: int) -> Score:
    absent = [place for place in range(classes) if not (labels == place).any()]
    if absent:
        return Score(value=None, n=len(labels), reason=f"no row of the class at place {absent[0]}")
    return Score(value=float(np.mean([right[labels == place].mean() for place in range(classes)])), n=len(labels))


def auc(scores: Floats, is_positive: npt.NDArray[np.bool_]) -> Score:
    """Return the chance that a positive row scores above a negative one, ties counted half (Mann-Whitney)."""
    n, positives = len(scores), int(is_positive.sum())
    if positives in (0, n):
        return Score(value=None, n=n, reason=f"{positives} of {n} rows are positive")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    wins = ranks[is_positive].sum() - positives * (positives + 1) / 2
    return Score(value=float(wins / (positives * (n - positives))), n=n)
