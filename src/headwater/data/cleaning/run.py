"""A whole cleaning run: first pass over chunks, duplicates over everything, second pass that writes the result.

All work is done in `<out>.work`; the result becomes `<out>` in one move at the end: until then there is none at all. A run that was
stopped leaves the folder, and the same command goes on from it; one that refused its input leaves nothing. The input is only read.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from headwater import __version__
from headwater.core import canonical
from headwater.core.errors import BadInput, Conflict, LimitExceeded, Unavailable
from headwater.data.cleaning import chunks, executors, image_pass, report, results, sources
from headwater.data.cleaning.chunks import Chunk
from headwater.data.cleaning.executors import Executor, Kind
from headwater.data.cleaning.parts import Plan, process, put, writing
from headwater.data.cleaning.recipe import ImageRecipe, Recipe
from headwater.data.cleaning.sources import MIB, Limits, Source

Form = Literal["jsonl", "parquet"]
Progress = Callable[[float, float, str], None]
FIRST_PASS, COMPARING = 0.8, 0.1
SPARE = 64 * MIB
UNLESS_TOLD = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of a run."""

    inputs: tuple[Path, ...]
    out: Path
    recipe: Recipe | ImageRecipe
    form: Form = "jsonl"
    limits: Limits = UNLESS_TOLD
    workers: int = 1
    on: Kind = "local"


def quiet(done: float, total: float, note: str) -> None:
    """Say nothing of progress."""


def clean(order: Order, progress: Progress = quiet) -> dict[str, Any]:
    """Clean the input into the folder `out` and return the report. Raises Conflict where `out` exists or another run is at it."""
    found = sources.find_images(order.inputs) if isinstance(order.recipe, ImageRecipe) else sources.find(order.inputs)
    if order.out.exists():
        raise Conflict(f"'{order.out}' exists already.", "Name a folder that does not, or remove it.")
    work = order.out.with_name(order.out.name + ".work")
    with _own(work, order, found), writing(work):
        result = work / "result"
        shutil.rmtree(result, ignore_errors=True)
        result.mkdir()
        executor = executors.opened(order.on, order.workers)
        try:
            if isinstance(order.recipe, ImageRecipe):
                told = image_pass.clean(order.recipe, found, result, executor, progress)
            else:
                told = _passes(order, order.recipe, found, work, executor, progress)
        finally:
            executor.close()
        put(result / "report.json", json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n")
        put(result / "report.html", report.page(told).encode())
        result.rename(order.out)
    shutil.rmtree(work)
    progress(1, 1, "written")
    return told


@contextmanager
def _own(work: Path, order: Order, found: Sequence[Source]) -> Iterator[None]:
    """Hold the work folder for this run alone; one left by the same order is taken over, one of another is refused."""
    _refuse_a_small_disk(order, found)
    (work / "parts").mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"Another run is at work in '{work}'.", "Wait for it, or name another folder.") from error
        identity = canonical.to_bytes(
            {"recipe": order.recipe.told(), "sources": [one.told() for one in found], "version": __version__, "chunk": chunks.CHUNK}
        )
        plan = work / "order.json"
        if plan.exists() and plan.read_bytes() != identity:
            raise Conflict(
                f"'{work}' was left by a run with another recipe, input or version.", "Remove it to begin anew, or name another folder."
            )
        put(plan, identity)
        try:
            yield
        except (BadInput, LimitExceeded):  # what is corrected is another input: there is nothing to go on from
            shutil.rmtree(work)
            raise


def _refuse_a_small_disk(order: Order, found: Sequence[Source]) -> None:
    """Raise Unavailable where the disk is surely too small: it must hold what is read once, unpacked."""
    needed = sum(one.size for one in found) + SPARE
    free = shutil.disk_usage(order.out.absolute().parent if order.out.absolute().parent.exists() else Path.cwd()).free
    if free < needed:
        raise Unavailable(
            f"The disk has {free / MIB:.0f} MiB free; at least {needed / MIB:.0f} are needed.", "Free some, or write elsewhere."
        )


def _passes(order: Order, recipe: Recipe, found: Sequence[Source], work: Path, executor: Executor, progress: Progress) -> dict[str, Any]:
    plan = Plan(recipe=recipe, parts=work / "parts")
    summaries = _first_pass(plan, order, found, executor, progress)
    verdicts = results.compare(plan, len(summaries), lambda share: progress(FIRST_PASS + COMPARING * share, 1, "comparing"))
    written = list(executor.run(partial(results.finish, plan, verdicts.folder, order.form), range(len(summaries))))
    progress(0.98, 1, "writing")
    results.assemble(plan, len(summaries), order.form, work / "result")
    return report.made(recipe, found, summaries, sorted(written, key=lambda one: int(one["number"])), verdicts)


def _first_pass(plan: Plan, order: Order, found: Sequence[Source], executor: Executor, progress: Progress) -> list[dict[str, Any]]:
    summaries: dict[int, dict[str, Any]] = {}
    total = sum(one.size for one in found)

    def to_do() -> Iterator[Chunk]:
        for chunk in chunks.cut(found, order.limits):
            done = plan.file(chunk.number, "json")
            if done.exists():
                summaries[chunk.number] = json.loads(done.read_bytes())
            else:
                yield chunk

    read = 0
    for summary in executor.run(partial(process, plan), to_do()):
        summaries[summary["number"]] = summary
        read += summary["bytes"]
        documents = sum(one["read"] for one in summaries.values())
        progress(FIRST_PASS * min(read / max(total, 1), 0.99), 1, f"{documents} documents read")
    return [summaries[number] for number in sorted(summaries)]


def left_over(out: Path) -> bool:
    """Tell whether a stopped run left its work for `out`."""
    return os.path.exists(out.with_name(out.name + ".work"))
