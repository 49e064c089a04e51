"""The credit project as a newcomer runs it: from public data to a graded, filed, published and answering model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headwater.core import evidence, ledger, platform, settings, statement
from headwater.core.platform import Platform
from tests import ray_cluster, slurm
from tests.kubernetes_stand import Stand

STEPS = ["prepare", "train", "compress", "deploy", "evaluate", "file", "publish", "serve"]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One `headwater run` on a folder: its exit status, its result, what it said."""

    status: int
    result: dict[str, Any]
    said: str

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        return {job["name"]: job for job in self.result["run"]["jobs"]}


def headwater(folder: Path, *arguments: str) -> Ran:
    command = [sys.executable, "-m", "headwater", *arguments, "--data", str(folder / "data"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={"PATH": os.environ["PATH"], "HOME": str(folder)})
    return Ran(
        status=done.returncode, result=json.loads(done.stdout) if done.stdout.startswith("{") else {}, said=done.stdout + done.stderr
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("credit")


@pytest.fixture(scope="module")
def first(folder: Path) -> Ran:
    return headwater(folder, "run", "recipes/credit/project.yaml")


@pytest.fixture(scope="module")
def second(folder: Path, first: Ran) -> Ran:
    return headwater(folder, "run", "recipes/credit/project.yaml")


@pytest.fixture
def left(folder: Path, first: Ran) -> Iterator[Platform]:
    with platform.opened(settings.load(data_folder=folder / "data")) as opened:
        yield opened


def test_every_step_is_done_and_says_where_it_ran_and_why(first: Ran) -> None:
    assert first.status == 0, first.said
    assert {name: job["state"] for name, job in first.jobs.items()} == dict.fromkeys(STEPS, "done")
    assert all("engine 'local' had" in job["place"] or "inside the platform" in job["place"] for job in first.jobs.values())


def test_the_served_model_answers_a_real_request(first: Ran) -> None:
    (model,) = first.result["models"]
    (prediction,) = model["answered"]["predictions"]
    assert prediction["label"] in (0, 1)
    assert abs(sum(prediction["probabilities"].values()) - 1) < 1e-5


def test_a_second_run_reuses_every_step(second: Ran) -> None:
    assert second.status == 0, second.said
    assert {job["state"] for job in second.jobs.values()} == {"reused"}
    assert len(second.result["models"]) == 1


def test_the_same_seed_makes_the_same_model_elsewhere(first: Ran, tmp_path: Path) -> None:
    elsewhere = headwater(tmp_path, "run", "recipes/credit/project.yaml")
    assert elsewhere.status == 0, elsewhere.said
    for step, output in (("prepare", "dataset"), ("train", "model")):
        assert elsewhere.jobs[step]["outputs"][output] == first.jobs[step]["outputs"][output]


def test_the_published_model_carries_every_statement_that_its_class_needs(left: Platform, first: Ran) -> None:
    model = first.jobs["deploy"]["outputs"]["model"]
    with left.db.read() as connection:
        for kind in (statement.LINEAGE, statement.TRUST_GRADE, statement.FILING, statement.PUBLICATION):
            held, why_not = evidence.valid(connection, left.keyring, model, kind, now=left.clock.now())
            assert held is not None, (kind, why_not)


def test_the_lineage_leads_from_the_model_back_to_the_table(left: Platform, first: Ran) -> None:
    made_from = {}
    with left.db.read() as connection:
        for job in first.jobs.values():
            for artifact in job["outputs"].values():
                for held in evidence.about(connection, artifact, statement.LINEAGE):
                    made_from[artifact] = set(held.statement.predicate["inputs"].values())
    reached = {first.jobs["deploy"]["outputs"]["model"]}
    while more := set().union(*(made_from.get(one, set()) for one in reached)) - reached:
        reached |= more
    assert first.jobs["prepare"]["inputs"]["table"] in reached


def test_the_ledger_holds_the_whole_story_and_verifies(left: Platform) -> None:
    with left.db.read() as connection:
        assert ledger.verify(connection).entries > 40
        kinds = {entry.kind for entry in ledger.entries(connection)}
    assert {"run.submitted", "job.done", "statement.kept", "model.published", "model.served"} <= kinds


def test_the_report_says_that_nationality_cannot_be_graded_instead_of_guessing(left: Platform, first: Ran) -> None:
    report = json.loads(left.store.read(first.jobs["evaluate"]["outputs"]["report"], "report.json"))
    told = json.dumps(report["dimensions"]["fairness"])
    assert "foreign_worker" in told
    assert "declared_not_gradable" in told


def test_the_same_model_is_refused_for_a_class_of_risk_that_its_grades_do_not_reach(folder: Path, first: Ran, tmp_path: Path) -> None:
    import headwater as package

    recipe = Path(package.__file__).parent / "recipes" / "credit"
    for name in ("card.yaml", "south_german_credit.csv", "south_german_credit_split.csv"):
        (tmp_path / name).write_bytes((recipe / name).read_bytes())
    text = (recipe / "project.yaml").read_text(encoding="utf-8").replace("risk_class: U1", "risk_class: U3")
    (tmp_path / "project.yaml").write_text(text, encoding="utf-8")
    refused = headwater(folder, "run", str(tmp_path / "project.yaml"))
    assert refused.status == 1
    assert (refused.jobs["publish"]["state"], refused.jobs["serve"]["state"]) == ("refused", "skipped")
    assert "fairness" in refused.jobs["publish"]["error"]["message"]


def test_the_same_file_runs_on_slurm_and_makes_the_same_bytes(first: Ran, tmp_path: Path) -> None:
    (tmp_path / "slurm").mkdir()
    cluster = slurm.started(tmp_path / "slurm")
    try:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / settings.FILE).write_text(cluster.settings("rest"))
        ran = headwater(tmp_path, "run", "recipes/credit/project.yaml", "--engine", "slurm")
    finally:
        cluster.stop()
    assert ran.status == 0, ran.said
    assert {name for name, job in ran.jobs.items() if "engine 'slurm' had" in job["place"]} >= {"prepare", "train", "evaluate"}
    for step in ("prepare", "train"):
        assert ran.jobs[step]["outputs"] == first.jobs[step]["outputs"]
    assert ran.result["models"][0]["answered"] == first.result["models"][0]["answered"]


def test_the_same_file_runs_on_ray_and_makes_the_same_bytes(first: Ran, ray_nodes: ray_cluster.Cluster, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / settings.FILE).write_text(ray_nodes.settings())
    ran = headwater(tmp_path, "run", "recipes/credit/project.yaml", "--engine", "ray")
    assert ran.status == 0, ran.said
    assert {name for name, job in ran.jobs.items() if "engine 'ray' had" in job["place"]} >= {"prepare", "train", "evaluate"}
    for step in ("prepare", "train"):
        assert ran.jobs[step]["outputs"] == first.jobs[step]["outputs"]
    assert ran.result["models"][0]["answered"] == first.result["models"][0]["answered"]


def test_the_same_file_runs_on_kubernetes_and_makes_the_same_bytes(first: Ran, kubernetes: Stand, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / settings.FILE).write_text(kubernetes.settings())
    ran = headwater(tmp_path, "run", "recipes/credit/project.yaml", "--engine", "kubernetes")
    assert ran.status == 0, ran.said
    assert {name for name, job in ran.jobs.items() if "engine 'kubernetes' had" in job["place"]} >= {"prepare", "train", "evaluate"}
    for step in ("prepare", "train"):
        assert ran.jobs[step]["outputs"] == first.jobs[step]["outputs"]
    assert ran.result["models"][0]["answered"] == first.result["models"][0]["answered"]
