"""A credit data set and a model trained on it, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from headwater.core.steps import Task
from headwater.data.steps import prepare
from headwater.framework.steps import train
from tests.flow.data.one_step import CREDIT, run


def recipe_params(step: str, *names: str) -> dict[str, Any]:
    """Return the parameters that the credit recipe gives a step, without its inputs."""
    given = yaml.safe_load((CREDIT / "project.yaml").read_text(encoding="utf-8"))["steps"][step]["with"]
    return {name: value for name, value in given.items() if name not in names}


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("credit")
    files = {"table": "south_german_credit.csv", "card": "card.yaml", "split": "south_german_credit_split.csv"}
    return run(prepare, folder / "prepare", **{name: CREDIT / file for name, file in files.items()}).outputs["dataset"]


@pytest.fixture(scope="session")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Task:
    return run(train, tmp_path_factory.mktemp("train") / "train", recipe_params("train", "dataset"), dataset=dataset)
