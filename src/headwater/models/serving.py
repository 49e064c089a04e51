"""Answering: the served version of a model, run by ONNX Runtime on the CPU.

A session is loaded from the store when a model is first asked, kept while it is among the last used,
and used by any number of threads at once (ONNX Runtime's `run` is thread-safe; nothing here locks
while a model runs). A fixed number of threads runs models; who comes when all are busy waits a stated
time. At load, and again whenever its standing is older than RECHECK_S, the gate is asked anew: a
version whose statements were revoked or have expired stops answering, and says why.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as WaitedTooLong
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from headwater.core import identity
from headwater.core.errors import BadInput, Broken, Conflict, LimitExceeded, Unavailable
from headwater.core.identity import Actor, Permission
from headwater.core.platform import Platform
from headwater.core.tabular import SIGNATURE_FILE, Signature
from headwater.models import policy
from headwater.models.hub import Version, get
from headwater.models.publishing import standing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from onnxruntime import InferenceSession

RECHECK_S = 2.0
MOST_ROWS = 1000
MOST_SESSIONS = 8
LARGEST_MODEL = 1 << 30
WAIT_S = 10.0
MODEL_FILE = "model.onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model says of one row: its label, and the probability of each class in the order of `classes`."""

    label: int | str
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a model says of some rows, and which version said it."""

    version: Version
    signature: Signature
    grades: Mapping[str, str]
    """Letters as the trust statement gives them now."""
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model ready to run: its session and its signature."""

    session: InferenceSession
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """That a model's served version was found fit to answer, and when."""

    version: Version
    organisation: str
    grades: Mapping[str, str]
    at: datetime


class Serving:
    """The served models of one platform. Thread-safe. Close it to end its threads."""

    def __init__(self, platform: Platform, *, threads: int | None = None) -> None:
        """Open serving with as many threads as this process may use CPUs, unless told."""
        self.platform = platform
        self._pool = ThreadPoolExecutor(threads or len(os.sched_getaffinity(0)), thread_name_prefix="serving")
        self._loading = threading.Lock()
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()
        self._standing: dict[str, Standing] = {}

    def close(self) -> None:
        """End the threads once what runs has ended."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def predict(self, name: str, rows: Sequence[Mapping[str, Any]], actor: Actor) -> Answers:
        """Return what the served version of a model says of each row.

        Raises NotFound, Refused without the permission in the model's organisation, Conflict where no
        version is served, GateClosed where it may not answer any more, BadInput naming row and column,
        LimitExceeded, Unavailable where every thread stays busy.
        """
        held = self.standing(name)
        identity.require(actor, Permission.MODELS_PREDICT, held.organisation)
        if not rows:
            raise BadInput("There are no rows to answer.", "Send at least one under 'rows'.")
        if len(rows) > MOST_ROWS:
            raise LimitExceeded(f"{len(rows)} rows are more than {MOST_ROWS}.", "Send them in several requests.")
        loaded = self.load(held.version.digest)
        matrix = loaded.signature.matrix(rows)
        probabilities = self._run(loaded, matrix)
        return Answers(
            version=held.version, signature=loaded.signature, grades=held.grades, answers=_answers(loaded.signature, probabilities)
        )

    def signature(self, name: str) -> Signature:
        """Return what the served version takes and gives. Raises as `predict` does."""
        return self.load(self.standing(name).version.digest).signature

    def standing(self, name: str) -> Standing:
        """Return the served version, found fit to answer no longer than RECHECK_S ago."""
        now = self.platform.clock.now()
        held = self._standing.get(name)
        if held is None or not timedelta(0) <= now - held.at < timedelta(seconds=RECHECK_S):
            held = self._checked(name, now)
            self._standing[name] = held
        return held

    def forget(self, name: str) -> None:
        """Ask anew which version answers, and whether it may, at the next question."""
        self._standing.pop(name, None)

    def load(self, digest: str) -> Loaded:
        """Return a model's session, loading it if it is not among the last used. Raises Broken, NotFound."""
        held = self._loaded.get(digest)
        if held is not None:
            return held
        with self._loading:
            held = self._loaded.get(digest) or _load(self.platform, digest)
            self._loaded[digest] = held
            self._loaded.move_to_end(digest)
            while len(self._loaded) > MOST_SESSIONS:
                self._loaded.popitem(last=False)
        return held

    def _checked(self, name: str, now: datetime) -> Standing:
        platform = self.platform
        with platform.db.read() as connection:
            model = get(connection, name)
            if model.served is None:
                raise Conflict(f"No version of '{name}' is served.", "Serve one with models.serve or `headwater model serve`.")
            version = model.version(model.served)
            decision = standing(connection, platform.keyring, version, policy.shipped(), now=now)
        return Standing(version=version, organisation=model.organisation, grades=decision.grades, at=now)

    def _run(self, loaded: Loaded, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        work = self._pool.submit(loaded.session.run, ["probabilities"], {"rows": matrix})
        try:
            (probabilities,) = work.result(timeout=WAIT_S)
        except WaitedTooLong as error:
            work.cancel()
            raise Unavailable(f"The model did not answer within {WAIT_S:g} s.", "Send fewer rows, or try again later.") from error
        except _faults() as error:
            raise Broken(f"The model failed while it ran: {error}.", "Deploy it again.") from error
        if probabilities.shape != (len(matrix), len(loaded.signature.classes)):
            raise Broken(f"The model answered with the shape {probabilities.shape}.", "Deploy it again.")
        if not (probabilities == probabilities).all():
            raise Broken("The model answered with something that is no number.", "Deploy it again.")
        result: npt.NDArray[np.float32] = probabilities
        return result


def _load(platform: Platform, digest: str) -> Loaded:
    import onnxruntime

    try:
        signature = Signature.model_validate_json(platform.store.read(digest, SIGNATURE_FILE))
    except ValidationError as error:
        raise Broken(f"The model's signature cannot be read: {error}.", "Deploy the model again.", where=digest) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    data = platform.store.read(digest, MODEL_FILE, limit=LARGEST_MODEL)
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except _faults() as error:
        raise Broken(f"ONNX Runtime cannot load the model: {error}.", "Deploy the model again.", where=digest) from error
    inputs, outputs = {one.name: one for one in session.get_inputs()}, {one.name for one in session.get_outputs()}
    if set(inputs) != {"rows"} or "probabilities" not in outputs or inputs["rows"].shape[1:] != [len(signature.columns)]:
        raise Broken("The model does not take `rows` and give `probabilities` as its signature says.", "Deploy it again.", where=digest)
    return Loaded(session=session, signature=signature)


def _faults() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises for a model that it cannot load or run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "NoSuchFile", "RuntimeException")
    return tuple(getattr(state, name) for name in names)


def _answers(signature: Signature, probabilities: npt.NDArray[np.float32]) -> tuple[Answer, ...]:
    best = probabilities.argmax(axis=1).tolist()
    shares = probabilities.astype(float).tolist()
    return tuple(Answer(label=signature.classes[place], probabilities=tuple(row)) for place, row in zip(best, shares, strict=True))
