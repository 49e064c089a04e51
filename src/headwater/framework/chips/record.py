"""A calibration record: what the suite and the ladders showed on one device, on one day, as a signed statement that can be passed on.

The record is data; `signed` puts it into an in-toto statement whose subject is the record's own digest. A platform that trusts the
signer's key for records keeps it with `headwater statement import`, and its matrix shows it.
"""

from __future__ import annotations

import os
import platform as machine
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headwater.core import canonical, statement
from headwater.core.errors import BadInput, Conflict
from headwater.core.statement import Envelope, Statement, Subject
from headwater.framework.chips.adapter import Adapter, Device
from headwater.framework.chips.calibrate import Figure
from headwater.framework.chips.conformance import Outcome

SCHEMA = "headwater.calibration/1"
KEY_HINT = "Make one with `headwater chip key FILE`."
MOST_CASES, MOST_FIGURES = 2000, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What was shown of a device: cases of the suite, measured figures, and all-reduce rates in GB/s by message size in bytes."""

    outcomes: tuple[Outcome, ...]
    figures: tuple[Figure, ...]
    rates: Mapping[str, float]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OutcomeRow(_Row):
    """One case of the suite."""

    kind: str = Field(max_length=20)
    name: str = Field(max_length=60)
    dtype: str = Field(max_length=12)
    verdict: str = Field(pattern="^(works|differs|refused)$")
    error: float | None = None
    said: str = Field("", max_length=200)


class FigureRow(_Row):
    """One measured figure."""

    name: str = Field(max_length=20)
    dtype: str = Field(max_length=12)
    size: int
    unit: str = Field(max_length=20)
    value: float
    least: float
    most: float
    repeats: int


class DeviceRow(_Row):
    """The device that it was shown on."""

    vendor: str = Field(max_length=40)
    chip: str | None = Field(None, max_length=80)
    name: str = Field(max_length=120)
    torch_device: str = Field(max_length=20)
    memory_gib: float | None = None


class SoftwareRow(_Row):
    """What it ran with."""

    headwater: str = Field(max_length=40)
    torch: str = Field(max_length=40)
    python: str = Field(max_length=40)
    system: str = Field(max_length=120)
    collective: str = Field(max_length=40)


class RecordRow(_Row):
    """A whole record, as its JSON file has it."""

    schema_: str = Field(SCHEMA, alias="schema", pattern=f"^{SCHEMA}$")
    made_at: datetime
    device: DeviceRow
    software: SoftwareRow
    outcomes: list[OutcomeRow] = Field(max_length=MOST_CASES)
    figures: list[FigureRow] = Field(max_length=MOST_FIGURES)
    all_reduce_gb_s: dict[str, float] = Field(max_length=50)


def record(adapter: Adapter, device: Device, shown: Shown, at: datetime) -> RecordRow:
    """Return the record of what was shown. `at` is the day it was shown, with its time zone."""
    import torch

    from headwater import __version__

    software = {"headwater": __version__, "torch": torch.__version__, "python": machine.python_version(), "collective": adapter.collective}
    return RecordRow.model_validate(
        {
            "schema": SCHEMA,
            "made_at": at,
            "device": {"vendor": adapter.vendor, **asdict(device)},
            "software": software | {"system": f"{machine.system()} {machine.machine()}"},
            "outcomes": [asdict(one) | {"error": finite(one.error)} for one in shown.outcomes],
            "figures": [asdict(one) for one in shown.figures],
            "all_reduce_gb_s": dict(shown.rates),
        }
    )


def finite(error: float | None) -> float | None:
    """Return an error that JSON can hold; one that is infinite counts as not known."""
    return error if error is not None and error < 1e300 else None


def read(text: str | bytes, where: str) -> RecordRow:
    """Return the record in a JSON text. Raises BadInput with every problem in it."""
    try:
        return RecordRow.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'record'}: {one['msg']}" for one in error.errors()[:10])
        raise BadInput(
            f"This is no calibration record: {problems}.", "Make one with `headwater chip check --out FILE`.", where=where
        ) from error


def as_json(told: RecordRow) -> dict[str, Any]:
    """Return a record as its file and its statement have it."""
    return told.model_dump(mode="json", by_alias=True)


def claim(told: RecordRow) -> Statement:
    """Return the statement that a record makes: its subject is the digest of its canonical bytes."""
    body = as_json(told)
    subject = Subject(name=f"calibration of {told.device.name}"[:200], digest=canonical.digest(body))
    return Statement(subjects=(subject,), predicate_type=statement.CALIBRATION, predicate=body, issued_at=told.made_at)


def signed(told: RecordRow, key: Ed25519PrivateKey) -> Envelope:
    """Return the record in an envelope, signed."""
    return statement.sign(claim(told), key)


def new_key(path: Path) -> Ed25519PrivateKey:
    """Make a contributor's key in a file that only its owner reads. Raises Conflict where the file is there."""
    key = Ed25519PrivateKey.generate()
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    except FileExistsError as error:
        raise Conflict("There is a file of that name.", "Choose another: a key is never overwritten.", where=str(path)) from error
    return key


def load_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a PEM file. Raises BadInput where there is none."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"No private key can be read there: {error}.", KEY_HINT, where=str(path)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput("This is not an Ed25519 key.", KEY_HINT, where=str(path))
    return key
