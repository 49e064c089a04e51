"""A cleaning run over images: look at every file, decide, list what stays and what goes. The images are neither moved nor copied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from headwater import __version__
from headwater.data.cleaning import images
from headwater.data.cleaning.batch import Removal
from headwater.data.cleaning.executors import Executor
from headwater.data.cleaning.images import Seen
from headwater.data.cleaning.parts import EXAMPLES, packed, put, removed_line
from headwater.data.cleaning.recipe import ImageRecipe
from headwater.data.cleaning.records import dumped
from headwater.data.cleaning.report import SCHEMA
from headwater.data.cleaning.results import NAMES, REMOVED
from headwater.data.cleaning.sources import Source

Progress = Callable[[float, float, str], None]
Verdict = tuple[Removal | None, str]


def clean(recipe: ImageRecipe, found: Sequence[Source], result: Path, executor: Executor, progress: Progress) -> dict[str, Any]:
    """Write the lists into the folder `result` and return the report."""
    stages = {stage.name: stage for stage in recipe.stages}
    seen: list[Seen] = []
    total = sum(len(source.files) for source in found)
    for source in found:
        for one in executor.run(partial(images.look, source.path, stages), source.files):
            seen.append(one)
            progress(0.95 * len(seen) / total, 1, f"{len(seen)} images seen")
    seen.sort(key=lambda one: one.path)
    verdicts = images.decide(seen, stages)
    both = list(zip(seen, verdicts, strict=True))
    kept = [dumped(_listed(one)) + b"\n" for one, (why, _) in both if why is None]
    gone = [
        removed_line(why, one.path, row, dumped(_listed(one)), like=like) for row, (one, (why, like)) in enumerate(both) if why is not None
    ]
    put(result / NAMES["jsonl"], packed(b"".join(kept)))
    put(result / REMOVED, packed(b"".join(gone)))
    return _report(recipe, found, both)


def _listed(one: Seen) -> dict[str, Any]:
    return {
        "path": one.path,
        "sha256": one.sha256,
        "bytes": one.bytes,
        "form": one.form,
        "width": one.width,
        "height": one.height,
        "blur": round(one.blur, 3),
        "look": f"{one.look:016x}",
    }


def _report(recipe: ImageRecipe, found: Sequence[Source], both: Sequence[tuple[Seen, Verdict]]) -> dict[str, Any]:
    reasons: Counter[str] = Counter()
    stages: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for one, (why, _) in both:
        if why is not None:
            reasons[why.code] += 1
            stages[why.stage] += 1
            examples.setdefault(why.code, []).append(one.path)
    left, funnel = len(both), []
    for stage in recipe.stages:
        funnel.append({"stage": stage.name, "in": left, "out": left - stages[stage.name], "changed": 0})
        left -= stages[stage.name]
    return {
        "schema": SCHEMA,
        "headwater": __version__,
        "recipe": recipe.told(),
        "recipe_digest": recipe.digest(),
        "sources": [{"name": one.name, "form": one.form, "bytes": one.size} for one in found],
        "read": len(both),
        "kept": left,
        "removed": len(both) - left,
        "funnel": funnel,
        "reasons": [{"code": code, "documents": count, "examples": examples[code][:EXAMPLES]} for code, count in sorted(reasons.items())],
    }
