"""A model under examination, asked through ONNX Runtime on one CPU thread, so that the same row gives the same answer.

The model's bytes are data, not code: no custom operators, no files beside it, nothing unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.core.errors import BadInput, StepFailed, Unavailable
from headwater.core.tabular import Signature

if TYPE_CHECKING:
    from headwater.trust.examination import Answers, Rows

MODEL_FILE = "model.onnx"
BATCH = 8192
SUM_TOLERANCE = 1e-3


class OnnxSubject:
    """The model in a folder with `model.onnx`; call it with rows to get probabilities."""

    def __init__(self, folder: Path, signature: Signature) -> None:
        """Load the model. Raises BadInput where it is not there or does not take `rows` and give `probabilities`."""
        self._session = _open(folder / MODEL_FILE)
        self._columns, self._classes = len(signature.columns), len(signature.classes)
        self.rows_asked = 0
        inputs = [one.name for one in self._session.get_inputs()]
        outputs = [one.name for one in self._session.get_outputs()]
        if inputs != ["rows"] or "probabilities" not in outputs:
            raise BadInput(
                f"The model takes {inputs} and gives {outputs}.", "It must take 'rows' and give 'probabilities'.", where=MODEL_FILE
            )

    def __call__(self, rows: Rows) -> Answers:
        """Return the probability of each class, float64 [n, classes]. Raises StepFailed where the answers are none."""
        parts = [self._batch(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
        self.rows_asked += len(rows)
        return np.concatenate(parts) if parts else np.empty((0, self._classes))

    def _batch(self, rows: Rows) -> Answers:
        answers = np.asarray(self._ask(rows), dtype=np.float64)
        expected = (len(rows), self._classes)
        if answers.shape != expected:
            raise StepFailed(
                f"The model answered with shape {answers.shape}, not {expected}.", "Check the signature's classes.", where=MODEL_FILE
            )
        if not np.isfinite(answers).all() or answers.min() < 0 or float(np.abs(answers.sum(axis=1) - 1).max()) > SUM_TOLERANCE:
            raise StepFailed("The model's answers are not probabilities that sum to 1.", "End the graph with a softmax.", where=MODEL_FILE)
        return answers

    def _ask(self, rows: Rows) -> Any:
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

        try:
            return self._session.run(["probabilities"], {"rows": np.ascontiguousarray(rows, dtype=np.float32)})[0]
        except (Fail, InvalidArgument, RuntimeException) as error:
            raise StepFailed(f"The model could not answer {len(rows)} rows: {error}.", "Deploy it again.", where=MODEL_FILE) from error


def _open(path: Path) -> Any:
    try:
        import onnxruntime as ort
        from onnxruntime.capi import onnxruntime_pybind11_state as states
    except ImportError as error:
        raise Unavailable("ONNX Runtime is not installed.", "Install onnxruntime.") from error
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.use_deterministic_compute = True
    refused = (
        states.Fail,
        states.InvalidGraph,
        states.InvalidProtobuf,
        states.InvalidArgument,
        states.NotImplemented,
        states.RuntimeException,
    )
    try:
        return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise BadInput(f"The model cannot be read: {error.strerror}.", "Make it with framework.deploy.", where=MODEL_FILE) from error
    except refused as error:
        raise BadInput(f"ONNX Runtime refuses the model: {error}.", "Deploy it again.", where=MODEL_FILE) from error
