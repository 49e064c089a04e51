"""The step on real data: a linear model of South German Credit, whose test part has 300 rows."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from headwater.core.steps import STEPS, Task
from headwater.core.tabular import read_signature
from headwater.trust.dataset import Dataset
from headwater.trust.steps import evaluate
from tests.flow.trust import made


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report on a logistic regression of the recipe's data set."""
    folder = tmp_path_factory.mktemp("credit")
    recipe = Path(str(resources.files("headwater.recipes"))) / "credit"
    files = {"table": "south_german_credit.csv", "split": "south_german_credit_split.csv", "card": "card.yaml"}
    step = STEPS.get("data.prepare")
    inputs = {name: recipe / file for name, file in files.items()}
    prepared = Task(step=step.name, params=step.params(), folder=folder / "prepare", inputs=inputs, digests={}, seed=1)
    prepared.folder.mkdir()
    step.run(prepared)
    dataset = prepared.outputs["dataset"]
    signature = read_signature(dataset)
    train = Dataset(dataset, signature).train
    assert train is not None
    scaler = StandardScaler().fit(train.rows)
    fitted = LogisticRegression(C=0.1).fit(scaler.transform(train.rows), train.labels)
    weights = (fitted.coef_[0] / scaler.scale_)[:, None] * np.array([[-0.5, 0.5]])
    bias = (fitted.intercept_[0] - (fitted.coef_[0] / scaler.scale_) @ scaler.mean_) * np.array([-0.5, 0.5])
    model = made.write_model(folder / "model", signature=signature, weights=weights.astype(np.float32), bias=bias.astype(np.float32))
    task = made.task(folder / "task", model, dataset, seed=20231123)
    evaluate.run(task)
    report: dict[str, Any] = json.loads((task.outputs["report"] / "report.json").read_text(encoding="utf-8"))
    return report


def figures(told: dict[str, Any], measure: str) -> dict[str, dict[str, Any]]:
    of = told["dimensions"][measure.partition(".")[0]]["measurements"]
    return {one["case"]: one for one in of if one["measure"] == measure}


def test_people_up_to_25_are_68_of_300_and_their_gap_is_graded_with_its_cells(told: dict[str, Any]) -> None:
    gaps = figures(told, "fairness.worst_group")
    (young,) = (one for one in gaps.values() if "age ≤ 25" in one["counts"])
    assert (young["counts"]["age ≤ 25"], young["counts"]["age > 25"]) == (68, 232)
    assert young["grade"] in "BCDE"
    assert young["next"]["moreSamples"] is None or young["next"]["moreSamples"] > 0


def test_foreign_workers_are_8_of_whom_none_defaulted_so_no_gap_is_made_up(told: dict[str, Any]) -> None:
    foreign = figures(told, "fairness.equalized_odds")["foreign_worker"]
    assert foreign["counts"]["foreign_worker = 1 · y = 0"] == 0
    assert foreign["counts"]["foreign_worker = 1 · y ≠ 0"] == 8
    assert foreign["grade"] is None
    assert "value" not in foreign
    assert foreign["notMeasurable"]["moreSamples"] == 12


def test_sex_which_one_code_cannot_tell_is_reported_with_that_reason(told: dict[str, Any]) -> None:
    sex = figures(told, "fairness.equalized_odds")["sex"]
    assert not sex["gradable"]
    assert "Code 2" in sex["notMeasurable"]["en"]


def test_300_rows_refuse_the_tail_and_say_that_700_more_are_needed(told: dict[str, Any]) -> None:
    (tail,) = figures(told, "privacy.membership_tail").values()
    assert tail["notMeasurable"]["moreSamples"] == 700
    assert told["dimensions"]["privacy"]["grade"] >= "B"


def test_a_linear_model_of_20_columns_is_stable_under_small_noise_and_leaks_little(told: dict[str, Any]) -> None:
    assert told["accuracy"]["value"] > 0.7
    assert told["dimensions"]["stability"]["grade"] in "AB"
    assert told["dimensions"]["privacy"]["grade"] in "BC"
