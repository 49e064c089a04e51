"""The step `data.publish` at the end of a real project: a version in the catalogue, its lineage back to the files, its reuse onward."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.core import platform, settings
from headwater.core.platform import Platform
from headwater.data import cards, lineage
from headwater.data.catalogue import sets, views

RECIPE = Path(__file__).parents[4] / "src" / "headwater" / "recipes" / "credit"
PROJECT = """schema: headwater.project/1
name: opening
steps:
  prepare:
    uses: data.prepare
    with: {table: file:south_german_credit.csv, card: file:card.yaml, split: file:south_german_credit_split.csv}
  publish:
    uses: data.publish
    with: {dataset: prepare.dataset, zone: finance, rhythm: yearly, keywords: [信贷, credit]}
  look:
    run: [sh, -c, "ls inputs/dataset > outputs/files"]
    with: {dataset: prepare.dataset}
    outputs: [files]
"""


def run(folder: Path) -> dict[str, Any]:
    """Run the project as a person does, and return what it says."""
    command = [sys.executable, "-m", "headwater", "run", "project.yaml", "--data", str(folder / "data"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={"PATH": os.environ["PATH"], "HOME": str(folder)})
    assert done.returncode == 0, done.stdout + done.stderr
    return {job["name"]: job for job in json.loads(done.stdout)["run"]["jobs"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which the project ran."""
    folder = tmp_path_factory.mktemp("opening")
    for name in ("south_german_credit.csv", "south_german_credit_split.csv", "card.yaml"):
        shutil.copy(RECIPE / name, folder)
    (folder / "project.yaml").write_text(PROJECT, encoding="utf-8")
    run(folder)
    return folder


@pytest.fixture
def site(folder: Path) -> Iterator[Platform]:
    """Give what the run left."""
    with platform.opened(settings.load(data_folder=folder / "data")) as opened:
        yield opened


@pytest.fixture
def dataset(site: Platform) -> sets.DataSet:
    with site.db.read() as connection:
        return sets.find(connection, "south-german-credit")


def versions(site: Platform, dataset: sets.DataSet) -> tuple[sets.Version, ...]:
    with site.db.read() as connection:
        return sets.versions(connection, dataset.id)


def test_a_runs_data_set_becomes_a_version_described_by_its_own_card(site: Platform, dataset: sets.DataSet) -> None:
    (version,) = versions(site, dataset)
    assert (dataset.zone, dataset.rhythm, dataset.licence) == ("finance", "yearly", "CC-BY-4.0")
    assert (version.rows, [one.name for one in version.table]) == (1000, ["test.parquet", "train.parquet", "valid.parquet"])
    assert version.quality["validity"]["value"] == 1.0


def test_its_lineage_goes_back_to_the_files_and_stands_in_its_card(site: Platform, dataset: sets.DataSet) -> None:
    (version,) = versions(site, dataset)
    with site.db.read() as connection:
        made = lineage.ancestry(connection, site.keyring, version, now=site.clock.now())
    assert {"data.publish", "data.prepare"} <= {one.step for one in made}
    prepared = next(one for one in made if one.step == "data.prepare")
    assert set(prepared.inputs) == {"table", "card", "split"}
    told = cards.croissant(views.shown(site, dataset, version, "https://data.example/d"), lambda file: file.name)
    assert any(one.startswith("data.prepare in job") for one in told["rai:dataPreprocessingProtocol"])
    assert any("column age" in one or "column" in one for one in told["rai:personalSensitiveInformation"])


def test_its_reuse_counts_the_jobs_that_took_it(site: Platform, dataset: sets.DataSet) -> None:
    reuse = lineage.reuse(site, dataset, versions(site, dataset))
    assert [job.rpartition(".")[2] for job in reuse.jobs] == ["look"]
    assert (reuse.count, reuse.models, reuse.grants) == (1, (), ())
    assert lineage.read_new(site) == 0


def test_a_second_run_reuses_the_version_while_it_stands(folder: Path, site: Platform, dataset: sets.DataSet) -> None:
    again = run(folder)
    assert [again[name]["state"] for name in ("prepare", "publish")] == ["reused", "reused"]
    assert len(versions(site, dataset)) == 1
