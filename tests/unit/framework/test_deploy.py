"""The forms of a model are compared row by row, and one that differs is refused."""

from __future__ import annotations

import numpy as np
import pytest

from headwater.core.errors import GateClosed, StepFailed
from headwater.framework.architecture import Architecture
from headwater.framework.compress import to_int8
from headwater.framework.deploy import compare, refuse_unless_equal
from headwater.framework.mlp import answer
from headwater.framework.onnx_export import export, in_ones, open_onnx
from headwater.framework.train import new_model
from tests.unit.framework.planted import SIGNATURE, examples

EAGER = np.array([[0.9, 0.1], [0.4, 0.6], [0.51, 0.49]])


def test_forms_within_the_tolerance_agree() -> None:
    parity = compare(EAGER, {"program": EAGER, "onnx": EAGER + 1e-7}, 1e-6)
    assert parity["agree"] is True
    assert parity["forms"]["program"] == {"largest_difference": 0.0, "largest_difference_row": 0, "classes_differ": 0}
    refuse_unless_equal(parity)


def test_a_form_that_differs_closes_the_gate_with_row_and_figures() -> None:
    turned = EAGER.copy()
    turned[2] = [0.48, 0.52]
    with pytest.raises(
        GateClosed, match=r"'onnx' differs .* by 0\.03 in test row 2, and in the class of 1 of 3 rows; the tolerance is 1e-05"
    ):
        refuse_unless_equal(compare(EAGER, {"program": EAGER, "onnx": turned}, 1e-5))


@pytest.mark.parametrize("answers", [EAGER[:2], EAGER * np.nan])
def test_answers_of_another_shape_or_not_finite_fail(answers: np.ndarray) -> None:
    with pytest.raises(StepFailed, match="onnx"):
        compare(EAGER, {"onnx": answers}, 1.0)


@pytest.mark.parametrize("int8", [False, True])
def test_a_model_answers_alike_in_all_its_forms_for_any_number_of_rows(int8: bool) -> None:
    train = examples(200)
    model = new_model(SIGNATURE, Architecture(hidden=(12, 6)), train, seed=4).eval()
    model = to_int8(model) if int8 else model
    exported = export(model)
    ask = open_onnx(exported.onnx_bytes)
    for n in (1, 2, 200):
        rows = train.rows[:n]
        forms = {"program": exported.ask_program(rows), "onnx": ask(rows), "ones": in_ones(ask, rows)}
        refuse_unless_equal(compare(answer(model, rows), forms, 1e-6))
    assert export(model).onnx_bytes == exported.onnx_bytes


def test_an_exported_model_holds_no_path_of_the_machine_that_made_it_and_keeps_int8_weights_small() -> None:
    model = new_model(SIGNATURE, Architecture(hidden=(64, 64)), examples(50), seed=4).eval()
    plain, small = export(model).onnx_bytes, export(to_int8(model)).onnx_bytes
    for form in (plain, small):
        assert b".py" not in form
        assert b"site-packages" not in form
    assert len(small) < 0.5 * len(plain)
