"""Reuse over signed statements on each database: what jobs made of a version, further on, and the models that came of it."""

from __future__ import annotations

import hashlib

from headwater.core import evidence
from headwater.core.db import Connection
from headwater.core.platform import Platform
from headwater.core.statement import LINEAGE, PUBLICATION, Statement, Subject
from headwater.data import lineage
from headwater.data.catalogue import sets
from tests.flow.data.conftest import Publish


def artifact(name: str) -> str:
    return "sha256:" + hashlib.sha256(name.encode()).hexdigest()


def issue(site: Platform, kind: str, about: str, **predicate: object) -> None:
    """Issue a statement as the platform does for a job or a publication."""
    at = site.clock.now()
    claim = Statement(subjects=(Subject(name="x", digest=about),), predicate_type=kind, predicate=predicate, issued_at=at)
    site.db.write(lambda connection: evidence.issue(connection, site.keyring, claim, actor="test"))


def used_by(site: Platform, name: str) -> lineage.Reuse:
    def look(connection: Connection) -> tuple[sets.DataSet, tuple[sets.Version, ...]]:
        dataset = sets.find(connection, name)
        return dataset, sets.versions(connection, dataset.id)

    with site.db.read() as connection:
        dataset, versions = look(connection)
    return lineage.reuse(site, dataset, versions)


def test_jobs_and_models_are_counted_once_each_however_far_on(any_site: Platform, publish_anywhere: Publish) -> None:
    version, other = publish_anywhere(), publish_anywhere("n\n1\n", name="other", title={"zh": "别", "en": "Other"})
    issue(any_site, LINEAGE, artifact("prepared"), job="run.prepare", step="data.prepare", inputs={"dataset": version.digest})
    issue(any_site, LINEAGE, artifact("model"), job="run.train", step="framework.train", inputs={"dataset": artifact("prepared")})
    issue(any_site, LINEAGE, artifact("model"), job="run.train", step="framework.train", inputs={"dataset": version.table[0].digest})
    issue(any_site, LINEAGE, artifact("unrelated"), job="run.else", inputs={"dataset": artifact("elsewhere")})
    issue(any_site, PUBLICATION, artifact("model"), name="credit")
    reuse = used_by(any_site, "bus-stops")
    assert (reuse.jobs, reuse.models, reuse.count) == (("run.prepare", "run.train"), ("credit",), 3)
    assert used_by(any_site, "other").count == 0
    assert other.digest != version.digest


def test_a_circle_of_statements_ends(any_site: Platform, publish_anywhere: Publish) -> None:
    version = publish_anywhere()
    issue(any_site, LINEAGE, artifact("a"), job="one", inputs={"x": version.digest, "y": artifact("b")})
    issue(any_site, LINEAGE, artifact("b"), job="two", inputs={"x": artifact("a")})
    issue(any_site, LINEAGE, version.digest, job="three", inputs={"x": artifact("b")})
    assert set(used_by(any_site, "bus-stops").jobs) == {"one", "two", "three"}
    with any_site.db.read() as connection:
        made = lineage.ancestry(connection, any_site.keyring, version, now=any_site.clock.now())
    assert len(made) == 4
