"""A project file is checked whole: every problem at once, each with its line, before anything runs."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from headwater.core.errors import BadFile
from headwater.projects.check import Handed, check, compile_jobs
from headwater.projects.schema import json_schema

HERE = {"data/table.csv", "card.yaml"}
HEAD = "schema: headwater.project/1\nname: demo\n"
GOOD = (
    HEAD
    + """steps:
  train:
    uses: framework.train
    with: {dataset: prepare.dataset}
  prepare:
    uses: data.prepare
    with:
      table: file:data/table.csv
      card: file:card.yaml
  tell:
    run: [echo, done]
    needs: [train]
"""
)


def problems(text: str) -> list[str]:
    with pytest.raises(BadFile) as caught:
        check(text, "p.yaml", HERE.__contains__)
    return [str(problem) for problem in caught.value.problems]


def test_steps_come_in_an_order_in_which_they_can_run() -> None:
    assert check(GOOD, "p.yaml", HERE.__contains__).order == ("prepare", "train", "tell")


def test_files_that_it_uses_are_named() -> None:
    assert check(GOOD, "p.yaml", HERE.__contains__).files == ("card.yaml", "data/table.csv")


def test_an_input_becomes_the_artifact_of_a_file_or_the_output_of_a_job() -> None:
    files = {"data/table.csv": "sha256:" + "1" * 64, "card.yaml": "sha256:" + "2" * 64}
    prepare, train, tell = compile_jobs(check(GOOD, "p.yaml", HERE.__contains__), Handed(run="demo-1", files=files, engine="local"))
    assert prepare.spec.inputs["table"].artifact == files["data/table.csv"]
    assert (train.spec.inputs["dataset"].job, train.spec.inputs["dataset"].output) == ("demo-1.prepare", "dataset")
    assert (prepare.needs, train.needs, tell.needs) == (frozenset(), frozenset({"demo-1.prepare"}), frozenset({"demo-1.train"}))


def test_all_problems_are_told_at_once_each_with_its_line() -> None:
    text = (
        HEAD
        + """steps:
  prepare:
    uses: data.prepair
  train:
    uses: framework.train
    with: {dataset: prepar.dataset}
    gate: ["auc is high"]
  tell:
    run: [echo]
    needs: [trian]
  load:
    uses: data.prepare
    with: {table: file:missing.csv, card: file:../secret, split: train.model}
"""
    )
    told = problems(text)
    expected = [
        "p.yaml:5: There is no step 'data.prepair'. Did you mean 'data.prepare'?",
        "p.yaml:8: 'prepar.dataset' names no step of this file. Did you mean 'prepare.dataset'?",
        "p.yaml:9: 'auc is high' is not a gate condition.",
        "p.yaml:12: 'trian' names no step of this file. Did you mean 'train'?",
        "p.yaml:15: There is no file 'missing.csv'.",
        "p.yaml:15: '../secret' leaves the project's folder.",
        "p.yaml:15: 'train.model' is a model, and 'split' takes a table.",
    ]
    for one in expected:
        assert any(line.startswith(one) for line in told), (one, told)
    assert len(told) == len(expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD, "p.yaml:1: 'steps' is missing"),
        (HEAD + "stepz: {}\nsteps: {a: {run: [x]}}", "p.yaml:3: Unknown key 'stepz'. Did you mean 'steps'?"),
        (HEAD + "steps:\n  a:\n    run: [x]\n    resorces: {}", "p.yaml:6: Unknown key 'resorces'. Did you mean 'resources'?"),
        (HEAD + "steps:\n  a:\n    run: [x]\n    resources: {cpu: 1}", "p.yaml:6: Unknown key 'cpu'. Did you mean 'cpus'?"),
        (HEAD + "steps:\n  a:\n    run: [x]\n    resources:\n      cpus: many", "p.yaml:7: 'steps.a.resources.cpus'"),
        (HEAD + "steps:\n  a: {run: [x], uses: data.prepare}", "p.yaml:4: Step 'a' must have either 'uses' or 'run'"),
        (HEAD + "steps:\n  A b: {run: [x]}", "p.yaml:4: 'A b' is not a step name"),
        (HEAD + "steps:\n  a:\n    uses: framework.train\n", "p.yaml:4: Step 'a' lacks the input 'dataset'"),
        (HEAD + "steps:\n  a: {run: [x], needs: [b]}\n  b: {run: [x], needs: [a]}", "wait for one another: a -> b -> a"),
        (HEAD + "steps:\n  a: {run: [x], needs: [a]}", "wait for one another: a -> a"),
        (HEAD.replace("/1", "/9") + "steps: {a: {run: [x]}}", "p.yaml:1: 'schema'"),
        ("", "p.yaml:1"),
        ("- a\n- b", "p.yaml:1"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_to_do(text: str, said: str) -> None:
    told = problems(text)
    assert any(said in line for line in told), told


def test_a_wrong_parameter_is_found_before_anything_runs() -> None:
    told = problems(GOOD.replace("{dataset: prepare.dataset}", "{dataset: prepare.dataset, epoch: 3}"))
    assert told[0].startswith("p.yaml:6: Unknown key 'epoch'. framework.train takes: dataset")


def test_the_published_schema_accepts_the_project_that_the_checker_accepts() -> None:
    jsonschema.validate(yaml.safe_load(GOOD), json_schema())


def test_the_published_schema_refuses_an_unknown_key() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD + "extra: 1\n"), json_schema())


def test_the_credit_recipe_has_no_problems() -> None:
    import headwater

    folder = Path(headwater.__file__).parent / "recipes" / "credit"
    checked = check((folder / "project.yaml").read_text(encoding="utf-8"), "project.yaml", lambda name: (folder / name).is_file())
    assert {"prepare", "train", "compress", "deploy", "evaluate", "file", "publish", "serve"} <= set(checked.order)
