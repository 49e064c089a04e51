"""Real models and real signed statements for the tests of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model

from headwater.core import evidence, identity, statement
from headwater.core.platform import Platform
from headwater.core.statement import FILING, LINEAGE, TRUST_GRADE, Statement, Subject
from headwater.core.tabular import SIGNATURE_FILE, Column, Signature

DIMENSIONS = ("stability", "fairness", "calibration", "explainability", "privacy")
SIGNATURE = Signature(
    columns=(
        Column(name="age", type="integer", minimum=18, maximum=100),
        Column(name="amount", type="number", minimum=0),
        Column(name="purpose", type="category", values=("car", "home")),
    ),
    target="risk",
    classes=(0, 1),
    positive=0,
)
ROW = {"age": 30, "amount": 1000.0, "purpose": "home"}


def make_model(folder: Path, *, bias: float = 0.0, signature: Signature = SIGNATURE) -> Path:
    """Write a small real ONNX classifier with its signature: a softmax over a linear form of three columns."""
    folder.mkdir(parents=True)
    weights = np.array([[0.02, -0.02], [0.001, -0.001], [0.5, -0.5]], dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["rows", "w"], ["linear"]),
            helper.make_node("Add", ["linear", "b"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "linear",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([bias, -bias], dtype=np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save_model(model, folder / "model.onnx")
    (folder / SIGNATURE_FILE).write_text(signature.model_dump_json(), encoding="utf-8")
    return folder


def stored_model(site: Platform, tmp_path: Path, *, bias: float = 0.0) -> str:
    """Store a small model and return its name."""
    return site.store.put_tree(make_model(tmp_path / f"model{bias}", bias=bias))


def graded(letters: Mapping[str, str] | None = None, *, use: str = "U1") -> dict[str, Any]:
    """Return the predicate of a trust grade: B in every dimension unless told."""
    told = dict.fromkeys(DIMENSIONS, "B") | dict(letters or {})
    grades = {name: {"grade": letter, "measurements": []} for name, letter in told.items()}
    return {"useClass": use, "overall": max(told.values()), "dimensions": grades, "report": "report"}


def claim(kind: str, digest: str, predicate: Mapping[str, Any], at: datetime, expires_at: datetime | None = None) -> Statement:
    """Return an unsigned statement about a model."""
    return Statement(
        subjects=(Subject(name="model", digest=digest),), predicate_type=kind, predicate=predicate, issued_at=at, expires_at=expires_at
    )


def issue(site: Platform, kind: str, digest: str, predicate: Mapping[str, Any], *, expires_at: datetime | None = None) -> str:
    """Sign and keep a statement with the platform's own office for its kind, and return its digest."""
    one = claim(kind, digest, predicate, site.clock.now(), expires_at)
    return site.db.write(lambda connection: evidence.issue(connection, site.keyring, one, actor=identity.SYSTEM)).digest


def vouch(site: Platform, digest: str, letters: Mapping[str, str] | None = None, *, use: str = "U1") -> dict[str, str]:
    """Give a model every statement that publishing needs, and return their digests by kind."""
    return {
        LINEAGE: issue(site, LINEAGE, digest, {"step": "framework.deploy", "job": "j1", "engine": "local"}),
        TRUST_GRADE: issue(site, TRUST_GRADE, digest, graded(letters, use=use)),
        FILING: issue(site, FILING, digest, {"decision": "filed", "number": "HW-DEMO-AF-2026-000001"}),
    }


def revoke(site: Platform, digest: str, reason: str = "found faulty") -> None:
    """Revoke a statement."""
    now = site.clock.now()
    site.db.write(lambda connection: evidence.revoke(connection, site.keyring, digest, reason=reason, actor=identity.SYSTEM, now=now))


def put_raw(site: Platform, envelope: statement.Envelope) -> None:
    """Put an envelope into the tables behind the platform's back, as an intruder with the database would."""
    told = statement.parse(envelope.payload)
    from sqlalchemy import insert

    def work(connection: Any) -> None:
        row = {"digest": envelope.digest, "predicate_type": told.predicate_type, "issued_at": told.issued_at}
        connection.execute(insert(evidence.statements).values(envelope=envelope.to_json(), **row))
        for subject in told.subjects:
            named = {"statement": envelope.digest, "digest": statement.bare(subject.digest), "name": subject.name}
            connection.execute(insert(evidence.subjects).values(**named))

    site.db.write(work)
