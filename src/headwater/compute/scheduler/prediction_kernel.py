"""Expect a job's run time from the runs of like jobs that have already ended (compiled).

The geometric mean of the latest runs of the same kind; with none, that of the latest runs of all kinds; with none,
nothing is known. Nothing that has not ended by the time of asking is looked at.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled_allocating
from headwater.compute.scheduler.state import State


@compiled_allocating
def predict_s(state: State, kind: int) -> float:
    """The expected run time of a new job of this kind in seconds, NaN where nothing has ended yet."""
    for row in (kind, len(state.history_count) - 1):
        known = min(state.history_count[row], state.history_s.shape[1])
        if known > 0:
            return float(np.exp(np.log(np.maximum(state.history_s[row, :known], 1.0)).mean()))
    return np.nan


@compiled_allocating
def remember(state: State, kind: int, run_s: float) -> None:
    for row in (kind, len(state.history_count) - 1):
        state.history_s[row, state.history_count[row] % state.history_s.shape[1]] = run_s
        state.history_count[row] += 1
