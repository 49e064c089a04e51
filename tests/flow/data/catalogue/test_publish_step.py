"""The step `data.publish` at the end of a real project: a version in the catalogue, its lineage back to the files, its reuse onward."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.compute.dispatcher import Dispatcher
from headwater.core.platform import Platform
from headwater.data import cards, lineage
from headwater.data.catalogue import sets, views
from tests.flow.projects.following import finished

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
