"""`trust.evaluate` on real ONNX models: the report, the claim, determinism, and every refusal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from headwater.core import canonical
from headwater.core.errors import BadInput, Broken, HeadwaterError, NotFound, Refused, StepFailed
from headwater.core.statement import TRUST_GRADE
from headwater.core.steps import STEPS, Task
from headwater.core.store import digest_of_file
from headwater.trust.steps import evaluate
from headwater.trust.subject import OnnxSubject
from tests.flow.trust import made

FILES = ("report.json", "report.html")


def run(folder: Path, **more: object) -> Task:
    task = made.task(folder / "task", made.write_model(folder / "model"), made.write_dataset(folder / "dataset"), **more)
    evaluate.run(task)
    return task


def test_the_step_is_found_by_name() -> None:
    assert STEPS.get("trust.evaluate") is evaluate


def test_the_report_grades_five_dimensions_and_claims_them_about_the_model(tmp_path: Path) -> None:
    task = run(tmp_path)
    told = json.loads((task.outputs["report"] / "report.json").read_text(encoding="utf-8"))
    assert set(told["dimensions"]) == {"stability", "fairness", "calibration", "explainability", "privacy"}
    (claim,) = task.claims
    assert (claim.predicate_type, claim.about) == (TRUST_GRADE, made.MODEL_DIGEST)
    assert claim.predicate["data"] == made.DATA_DIGEST
    assert claim.predicate["report"] == "output:report"
    assert {name: claim.predicate[name] for name in told if name != "schema"} == {name: told[name] for name in told if name != "schema"}
    canonical.to_bytes(dict(claim.predicate))
    assert task.facts["overall"] == told["overall"]
    assert set(task.facts["grades"]) == set(told["dimensions"])
    assert task.metrics["accuracy"] == pytest.approx(told["accuracy"]["value"], abs=1e-6)


def test_the_figures_are_those_of_the_rows_and_the_card(tmp_path: Path) -> None:
    task = run(tmp_path)
    told = json.loads((task.outputs["report"] / "report.json").read_text(encoding="utf-8"))
    fairness = {(one["measure"], one["case"]): one for one in told["dimensions"]["fairness"]["measurements"]}
    odds = fairness["fairness.equalized_odds", "young"]
    cells = [odds["counts"][f"age {sign} 25 · y {equal} 0"] for sign in "≤>" for equal in "=≠"]
    assert sum(cells) == told["rows"]["test"] == 400
    assert odds["smallestCell"] == min(cells)
    kind = fairness["fairness.equalized_odds", "kind"]
    assert kind["notMeasurable"]["en"] == "Not asked."
    assert kind["grade"] is None
    assert {"kind = free · y = 0", "kind = own · y = 0", "kind = rent · y = 0"} <= set(kind["counts"])


def test_two_runs_with_one_seed_give_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again, other = run(tmp_path / "a"), run(tmp_path / "b"), run(tmp_path / "c", seed=8)
    for file in FILES:
        assert digest_of_file(first.outputs["report"] / file) == digest_of_file(again.outputs["report"] / file)
    assert digest_of_file(first.outputs["report"] / "report.json") != digest_of_file(other.outputs["report"] / "report.json")


def test_it_runs_as_a_process_of_its_own_within_seconds_and_without_torch(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    made.write_model(folder / "inputs" / "model")
    made.write_dataset(folder / "inputs" / "dataset", n=300)
    told = {"step": "trust.evaluate", "params": {"use_class": "U3"}, "inputs": {"model": made.MODEL_DIGEST, "dataset": made.DATA_DIGEST}}
    task = told | {"project": "p", "job": "j", "actor": "a", "organisation": "o", "seed": 1, "settings": {}}
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    start = time.monotonic()
    code = "import sys, pathlib, headwater.step as s; r = s.main(pathlib.Path(sys.argv[1])); print(sorted(sys.modules)); sys.exit(r)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "'torch'" not in done.stdout
    assert "'scipy'" not in done.stdout
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert result["claims"][0]["predicate"]["useClass"] == "U3"
    assert (folder / "progress.jsonl").read_text(encoding="utf-8").splitlines()
    assert time.monotonic() - start < 30


def test_the_subject_gives_the_models_own_answers_whatever_the_number_of_rows(tmp_path: Path) -> None:
    subject = OnnxSubject(made.write_model(tmp_path), made.SIGNATURE)
    rows = np.random.default_rng(0).uniform(0, 50, (20_000, 3)).astype(np.float32)
    assert np.allclose(subject(rows), made.answers(rows), atol=1e-5)
    assert np.array_equal(subject(rows[:1]), subject(rows)[:1])
    assert subject(rows[:0]).shape == (0, 2)
    assert subject.rows_asked == 40_001


def test_a_data_set_without_a_training_part_leaves_privacy_not_measurable(tmp_path: Path) -> None:
    dataset = made.write_dataset(tmp_path / "dataset")
    (dataset / "train.parquet").unlink()
    task = made.task(tmp_path / "task", made.write_model(tmp_path / "model"), dataset)
    evaluate.run(task)
    assert task.facts["grades"]["privacy"] == "N"


def test_a_card_without_sensitive_attributes_leaves_fairness_not_measurable(tmp_path: Path) -> None:
    dataset = made.write_dataset(tmp_path / "dataset", card={"title": made.CARD["title"]})
    task = made.task(tmp_path / "task", made.write_model(tmp_path / "model"), dataset)
    evaluate.run(task)
    assert task.facts["grades"]["fairness"] == "N"
    assert "请在数据卡中声明" in (task.outputs["report"] / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("rule", "protected"),
    [({"at_least": 40}, "age ≥ 40"), ({"equals": 30}, "age = 30"), ({"in": [18, 19]}, "age ∈ {18, 19}"), ({"at_most": 25.5}, "age ≤ 25.5")],
)
def test_every_rule_of_a_card_divides_the_rows(tmp_path: Path, rule: dict[str, object], protected: str) -> None:
    card = made.CARD | {"sensitive": [{"name": "a", "column": "age", "rule": rule}]}
    task = made.task(tmp_path / "task", made.write_model(tmp_path / "model"), made.write_dataset(tmp_path / "dataset", card=card))
    evaluate.run(task)
    told = json.loads((task.outputs["report"] / "report.json").read_text(encoding="utf-8"))
    counts = next(one for one in told["dimensions"]["fairness"]["measurements"] if one["measure"] == "fairness.worst_group")["counts"]
    assert protected in counts
    assert sum(count for name, count in counts.items() if "ŷ" not in name) == 400


def refused(tmp_path: Path, error: type[HeadwaterError], match: str, **more: object) -> None:
    """Run on a model and data set in `tmp_path`, made here if they are not there, and expect a refusal that leaves no report."""
    model, dataset = tmp_path / "model", tmp_path / "dataset"
    if not model.exists():
        made.write_model(model)
    if not dataset.exists():
        made.write_dataset(dataset)
    task = made.task(tmp_path / "task", model, dataset, **more)
    with pytest.raises(error, match=match):
        evaluate.run(task)
    assert not task.outputs
    assert not task.claims
    assert not (tmp_path / "task" / "outputs").exists()


def test_a_prohibited_use_is_not_graded(tmp_path: Path) -> None:
    refused(tmp_path, Refused, "grades no model for U0", use_class="U0")


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, NotFound, "no grading policy 'mine'", policy="mine")


def test_a_label_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    made.write_dataset(tmp_path / "dataset", n=40, paid=[0, 1, 2, 1] * 10)
    refused(tmp_path, BadInput, "'paid' holds 2.* classes 0, 1")


def test_a_value_outside_the_signature_is_refused_with_row_and_column(tmp_path: Path) -> None:
    made.write_dataset(tmp_path / "dataset", n=3, months=[5, 6, 99])
    refused(tmp_path, BadInput, r"test.parquet, row 2, column 'months': 99 is outside")


def test_a_data_set_for_another_model_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    dataset = made.write_dataset(tmp_path / "dataset")
    pq.write_table(pa.table({"other": [1]}), dataset / "test.parquet")
    refused(tmp_path, BadInput, "The column 'amount' is missing")


def test_an_empty_test_part_is_refused(tmp_path: Path) -> None:
    made.write_dataset(tmp_path / "dataset", n=0)
    refused(tmp_path, BadInput, "test.parquet: This part has no rows")


def test_a_sensitive_column_that_is_not_in_the_data_is_refused(tmp_path: Path) -> None:
    made.write_dataset(tmp_path / "dataset", card=made.CARD | {"sensitive": [{"name": "s", "column": "sex"}]})
    refused(tmp_path, BadInput, "sensitive column 'sex'")


@pytest.mark.parametrize("file", ["card.json", "test.parquet"])
@pytest.mark.parametrize("data", [None, b"", b"{not json"])
def test_a_missing_or_broken_file_of_the_data_set_is_refused(tmp_path: Path, file: str, data: bytes | None) -> None:
    path = made.write_dataset(tmp_path / "dataset") / file
    path.unlink() if data is None else path.write_bytes(data)
    refused(tmp_path, BadInput, file)


@pytest.mark.parametrize("data", [None, b"", b"not a model", b"\x08\x0a" + b"\xff" * 64])
def test_a_missing_or_broken_model_is_refused(tmp_path: Path, data: bytes | None) -> None:
    path = made.write_model(tmp_path / "model") / "model.onnx"
    path.unlink() if data is None else path.write_bytes(data)
    refused(tmp_path, BadInput, "model.onnx")


def test_a_model_without_its_signature_is_refused(tmp_path: Path) -> None:
    (made.write_model(tmp_path / "model") / "signature.json").unlink()
    refused(tmp_path, Broken, "signature cannot be read")


def test_a_model_with_other_outputs_is_refused(tmp_path: Path) -> None:
    made.write_model(tmp_path / "model", output="label")
    refused(tmp_path, BadInput, "gives \\['label'\\]")


def test_answers_that_are_no_probabilities_fail_the_step(tmp_path: Path) -> None:
    made.write_model(tmp_path / "model", softmax=False)
    refused(tmp_path, StepFailed, "not probabilities")


def test_answers_that_are_not_numbers_fail_the_step(tmp_path: Path) -> None:
    made.write_model(tmp_path / "model", bias=np.array([np.nan, 0], dtype=np.float32))
    refused(tmp_path, StepFailed, "not probabilities")


def test_a_model_cannot_make_the_evaluator_read_other_files(tmp_path: Path) -> None:
    """Weights kept outside the model file, here at a path of the model's choosing, are not followed."""
    import onnx

    folder = made.write_model(tmp_path / "model")
    (tmp_path / "secret").write_bytes(made.WEIGHTS.tobytes())
    model = onnx.load(folder / "model.onnx")
    weights = next(one for one in model.graph.initializer if one.name == "w")
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../secret")
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    refused(tmp_path, BadInput, "model.onnx")


def test_a_column_with_a_value_for_nearly_everyone_needs_a_rule(tmp_path: Path) -> None:
    card = made.CARD | {"sensitive": [{"name": "a", "column": "amount"}]}
    made.write_dataset(tmp_path / "dataset", card=card)
    refused(tmp_path, BadInput, "'a' divides people into .* groups, more than 50")


def test_such_a_column_is_only_named_where_it_is_declared_not_gradable(tmp_path: Path) -> None:
    card = made.CARD | {"sensitive": [{"name": "a", "column": "amount", "gradable": False, "reason": {"en": "No.", "zh": "否。"}}]}
    task = made.task(tmp_path / "task", made.write_model(tmp_path / "model"), made.write_dataset(tmp_path / "dataset", card=card))
    evaluate.run(task)
    told = json.loads((task.outputs["report"] / "report.json").read_text(encoding="utf-8"))
    assert all(len(one["counts"]) == 1 for one in told["dimensions"]["fairness"]["measurements"])
