"""One call, several engines: every candidate is made, asked, weighed and timed; what breaks the floor is refused with the figures.

    found = compress(given, measure, floor=0.95, folder=folder)
    found.chosen, found.points

The measure is the user's: it asks a model and returns how good it is. Latency is the median at batch 1, the candidate and the model that
it came from asked in turn, so that a busy machine slows both.
"""

from __future__ import annotations

import json
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import BadInput, GateClosed, HeadwaterError
from headwater.framework.compression.engine import ENGINES, Engine, Given, size_of
from headwater.framework.compression.pareto import Aim, Point, choose, front

if TYPE_CHECKING:
    from headwater.framework.runtimes.runtime import Array, Ask

SCHEMA, FILE = "headwater.pareto/1", "pareto.json"
WARM_UP, ROUNDS = 5, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How good a model is, higher being better, with its interval where it has one, over `n` examples."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None


Measured = Callable[["Ask"], Measure]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParetoSet:
    """Every candidate with its figures; those on the front and the one that was chosen are marked."""

    before: Measure
    before_bytes: int
    floor: float
    points: tuple[Point, ...]
    absent: dict[str, str]
    """Engines that were not tried, and why."""

    @property
    def chosen(self) -> Point:
        """The candidate that was chosen."""
        return next(point for point in self.points if point.chosen)

    def as_json(self) -> dict[str, Any]:
        """Return the whole set as its file has it."""
        whole = asdict(self)
        return {"schema": SCHEMA, **whole}


def compress(
    given: Given,
    measure: Measured,
    *,
    floor: float,
    folder: Path,
    engines: Sequence[str] | None = None,
    aim: Aim = "latency",
    rounds: int = ROUNDS,
) -> ParetoSet:
    """Return the candidates and write the chosen one with all receipts into a new folder.

    Raises NotFound for an unknown engine, BadInput where the model itself is below the floor or no engine applies, GateClosed with the
    figures of each where no candidate keeps the floor: then nothing is written.
    """
    base = _eager(given)
    before = measure(base)
    if not before.value >= floor:
        raise BadInput(f"The model itself reaches {before.value:.4f}, below the floor {floor:.4f}.", "Train it better, or lower the floor.")
    absent: dict[str, str] = {}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".compressing-") as scratch:
        points: list[Point] = []
        for engine in [ENGINES.get(name) for name in (engines or ENGINES.names())]:
            settings = engine.settings(given)
            if not settings:
                absent[engine.name] = "nothing here that it applies to"
            for setting in settings:
                made = _tried(engine, setting, given, base, measure, floor, Path(scratch), absent, rounds)
                points += [made] if made is not None else []
        found = _judged(points, before, _bytes(given, Path(scratch)), floor, absent, aim)
        _write(found, Path(scratch), folder)
    return found


def _tried(
    engine: Engine,
    setting: str,
    given: Given,
    base: Ask,
    measure: Measured,
    floor: float,
    scratch: Path,
    absent: dict[str, str],
    rounds: int,
) -> Point | None:
    """Make and weigh one candidate; an engine that is not installed or fails is noted in `absent`."""
    part = scratch / f"{engine.name}-{setting}"
    part.mkdir()
    try:
        candidate = engine.make(given, setting, part)
        told = measure(candidate.ask)
        before_ms, after_ms = latency(base, candidate.ask, given.program, rounds)
    except ImportError as error:
        absent[engine.name] = f"'{error.name}' is not installed" + (f': pip install "headwater[{engine.extra}]"' if engine.extra else "")
        return None
    except HeadwaterError as error:
        absent[f"{engine.name} {setting}"] = error.what
        return None
    except Exception as error:  # noqa: BLE001 - every engine fails in its own way, and the others are tried all the same
        absent[f"{engine.name} {setting}"] = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        return None
    machine = {"machine": platform.machine(), "python": platform.python_version(), "rounds": rounds, "examples": told.n}
    broken = not told.value >= floor
    return Point(
        engine=engine.name,
        setting=setting,
        size_bytes=size_of(candidate.folder),
        latency_ms=after_ms,
        before_ms=before_ms,
        metric=told.value,
        low=told.value if told.low is None else told.low,
        high=told.value if told.high is None else told.high,
        why_not=f"{told.value:.4f} is below the floor {floor:.4f}" if broken else "",
        receipt=candidate.receipt | machine,
    )


def _eager(given: Given) -> Ask:
    import torch

    from headwater.framework.program.frozen import answers

    model: Any = given.program.model or given.program.module()

    def ask(*arrays: Array) -> Sequence[Array]:
        with torch.inference_mode():
            return [one.numpy() for one in answers(model(*map(torch.from_numpy, arrays)))]

    return ask


def _bytes(given: Given, scratch: Path) -> int:
    """Return the size of the model before, as its weights lie on a disk."""
    import torch

    torch.save(dict(given.program.graph.state_dict), scratch / "before.pt")
    return (scratch / "before.pt").stat().st_size


def latency(base: Ask, candidate: Ask, program: Any, rounds: int) -> tuple[float, float]:
    """Return the median milliseconds of one answer at batch 1 of both, asked in turn."""
    from headwater.framework.compression.single import single

    example = single(program)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(WARM_UP + rounds):
        for ask, taken in zip((base, candidate), times, strict=True):
            began = time.perf_counter()
            ask(*example)
            if number >= WARM_UP:
                taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


def _judged(points: list[Point], before: Measure, size: int, floor: float, absent: dict[str, str], aim: Aim) -> ParetoSet:
    best, on_front = choose(points, aim), front(points)
    if best is None:
        tried = "; ".join(f"{point.engine} {point.setting}: {point.why_not}" for point in points)
        lacking = "; ".join(f"{name}: {why}" for name, why in absent.items())
        told = tried or f"no engine applies ({lacking})"
        raise GateClosed(
            f"No candidate keeps the floor: {told}.", "Lower the floor, give inputs to calibrate on, or keep the model as it is."
        )
    marked = tuple(replace(point, on_front=point in on_front, chosen=point is best) for point in points)
    return ParetoSet(before=before, before_bytes=size, floor=floor, points=marked, absent=absent)


def _write(found: ParetoSet, scratch: Path, folder: Path) -> None:
    chosen = found.chosen
    part = scratch / f"{chosen.engine}-{chosen.setting}"
    (part / FILE).write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
    shutil.move(part, folder)
