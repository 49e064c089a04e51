"""Tables of published runs, read by stated rules. A table's rows become columns; a row that cannot be priced is named.

Rules for what a table leaves empty or tells in words:
- a micro-batch or virtual stages not given are 1; data-parallel ranks not given are what the other sizes leave;
- recomputation not stated is that of as many layers as the run needs to fit; ZeRO not stated is level 1;
- attention is fused, unless the software names a year before 2022 or a head's width is no multiple of 8; ALiBi runs in
  a generic kernel;
- the feed-forward part has a gate where that fits the parameters, or the architecture says so;
- tokens a second not given are derived from hardware FLOP/s by the formula of Narayanan et al. 2021, section 3, where
  the table says that they count recomputation.
A row without sequence length or batch cannot be priced.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headwater.core.errors import BadFile, BadInput, HeadwaterError, Problem
from headwater.framework.parallel.chips import Chip, find
from headwater.framework.parallel.columns import (
    BF16,
    FP8,
    MXFP8,
    NVFP4,
    PRECISIONS,
    TF32,
    BlockColumns,
    ChipColumns,
    Floats,
    LayoutColumns,
    ModelColumns,
)
from headwater.framework.parallel.memory import memory
from headwater.framework.program.model_spec import Block, Kernel

FUSED_SINCE = 2022
"""Fused attention was published in May 2022 (Dao et al.): software that names an earlier year has none."""
FUSED_MULTIPLE = 8
"""Fused kernels take head widths that are multiples of this."""

GRID = ("group", "model", "chip", "chips", "global_batch", "seq_len", "precision", "recompute")
"""Runs that are equal in all of these may be compared."""

DIMENSIONS = ("layers", "hidden", "ffn", "heads", "kv_heads", "seq_len", "vocab")
LAYOUT = ("micro_batch", "tp", "pp", "vp", "dp", "cp")
NEEDED = ("id", "source", "model", *DIMENSIONS, *LAYOUT, "global_batch", "chip", "chips", "zero", "recompute", "precision")
GATED = ("llama", "qwen", "mistral", "mixtral", "deepseek", "gemma", "internlm", "baichuan", "aquila", "gated", "swiglu")
"""Words of an architecture whose feed-forward part has a gate."""
MEASURED = ("tokens_per_s_per_chip", "measured_tflops_per_chip", "tflops_convention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One published run that can be priced."""

    id: str
    source: str
    model: str
    grid: tuple[str, ...]
    """The values of GRID."""
    block: Block
    vocab: int
    seq_len: int
    chip: Chip
    tp: int
    pp: int
    vp: int
    dp: int
    cp: int
    ep: int
    zero: int
    near: bool
    """States are sharded within a server only."""
    micro_batch: int
    global_batch: int
    recompute: float | None
    precision: int
    pure: bool
    tokens_s: float
    """Measured, for each chip."""
    memory_gib: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The runs of a file, and why other rows are left out."""

    runs: tuple[Run, ...]
    left_out: tuple[Problem, ...]

    def taken(self, keep: Sequence[bool]) -> Table:
        """Return the runs that `keep` marks."""
        return Table(runs=tuple(run for run, kept in zip(self.runs, keep, strict=True) if kept), left_out=self.left_out)

    @property
    def tokens_s(self) -> Floats:
        """Measured tokens a second for each chip."""
        return np.array([run.tokens_s for run in self.runs])

    @property
    def sources(self) -> list[str]:
        """The publisher of each run: the repository, without the page in it."""
        return [publisher(run.source) for run in self.runs]

    def columns(self) -> tuple[ModelColumns, LayoutColumns, ChipColumns]:
        """Return the runs as columns, with recomputation that is not stated filled in by the rule."""
        model = ModelColumns(
            blocks=(BlockColumns.of([run.block for run in self.runs]),),
            vocab=self._of("vocab"),
            seq_len=self._of("seq_len"),
            tied=np.zeros(len(self.runs)),
        )
        chip = ChipColumns.of([run.chip for run in self.runs])
        layout = self._layout(np.array([run.recompute or 0.0 for run in self.runs]))
        unstated = np.array([run.recompute is None for run in self.runs])
        none, full = (memory(model, self._layout(np.full(len(self.runs), share))).needed for share in (0.0, 1.0))
        needed = np.clip((none - chip.memory_bytes) / np.maximum(none - full, 1.0), 0.0, 1.0)
        return model, self._layout(np.where(unstated, needed, layout.recompute)), chip

    def _of(self, name: str) -> Floats:
        return np.array([getattr(run, name) for run in self.runs], float)

    def _layout(self, recompute: Floats) -> LayoutColumns:
        names = ("tp", "pp", "vp", "dp", "cp", "ep", "zero", "micro_batch", "global_batch", "precision", "pure")
        columns = {name: self._of(name) for name in names}
        ranks = columns["dp"] * columns["cp"]
        server = np.maximum(1, np.array([run.chip.fast_group for run in self.runs]) // columns["tp"])
        near = self._of("near") * (ranks % np.maximum(server, 1) == 0)
        return LayoutColumns(**columns, zero_ranks=np.where(near > 0, np.minimum(server, ranks), ranks), recompute=recompute)


def publisher(source: str) -> str:
    """Return the repository that a source names."""
    return source.split()[0] if source.strip() else "unnamed"


def read(path: Path) -> Table:
    """Return the runs of a CSV file. Raises BadFile where it lacks a column or holds nothing, BadInput where it is unreadable."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in (*NEEDED, *MEASURED) if name not in (reader.fieldnames or [])]
            rows = list(reader) if not missing else []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"The table cannot be read: {error}.", "Give a CSV file in UTF-8.", where=str(path)) from error
    if missing:
        raise BadFile([Problem(where=f"{path}:1", what=f"No column {', '.join(missing)}.")], "table")
    runs, left_out = [], []
    for number, row in enumerate(rows, start=2):
        try:
            runs.append(_run(row))
        except (HeadwaterError, ValueError) as error:
            left_out.append(Problem(where=f"{path.name}:{number} {row.get('id') or ''}".rstrip(), what=str(error)))
    if not runs:
        raise BadFile(left_out[:20] or [Problem(where=str(path), what="No rows.")], "table")
    return Table(runs=tuple(runs), left_out=tuple(left_out))


def _run(row: dict[str, str]) -> Run:
    whole = {name: _whole(row, name) for name in DIMENSIONS}
    cut = {name: _whole(row, name, 1) for name in (*LAYOUT, "ep")}
    chips, ranks = _whole(row, "chips"), cut["tp"] * cut["pp"] * cut["cp"]
    if not (row["dp"] or "").strip():
        cut["dp"] = max(1, chips // ranks)
    if ranks * cut["dp"] != chips:
        raise ValueError(f"tp x pp x dp x cp is {ranks * cut['dp']}, but it ran on {chips} chips.")
    block, chip, precision = _block(row, whole), find(row["chip"]), _precision(row["precision"])
    if not ChipColumns.of([chip]).peak[0, precision]:
        raise ValueError(f"the catalogue knows no {PRECISIONS[precision]} rate of {chip.id}.")
    return Run(
        id=row["id"],
        source=row["source"],
        model=row["model"],
        grid=tuple(row.get(name, "") for name in GRID),
        block=block,
        vocab=whole["vocab"],
        seq_len=whole["seq_len"],
        chip=chip,
        **cut,
        zero=_zero(row["zero"]),
        near=any(word in row["zero"].lower() for word in ("hybrid", "hsdp", "node")),
        global_batch=_whole(row, "global_batch"),
        recompute=_recompute(row["recompute"]),
        precision=precision,
        pure="pure" in row["precision"],
        tokens_s=_tokens_s(row, block, whole["vocab"], whole["seq_len"]),
        memory_gib=float(row["mem_gib"]) if row.get("mem_gib") else None,
    )


def _block(row: dict[str, str], whole: dict[str, int]) -> Block:
    """Return the layers of a row; whether the feed-forward part has a gate is what fits the parameters, else the architecture."""
    arch = row.get("arch", "").lower()
    gated = any(word in arch for word in GATED)
    block = Block(
        count=whole["layers"],
        hidden=whole["hidden"],
        ffn=whole["ffn"],
        heads=whole["heads"],
        kv_heads=whole["kv_heads"],
        head_dim=max(1, whole["hidden"] // whole["heads"]),
        mlp_matrices=3.0 if gated else 2.0,
        kernel=_kernel(arch, row.get("software", ""), whole["hidden"] // whole["heads"]),
    )
    if not (row.get("params") or "").strip():
        return block
    both = [replace(block, mlp_matrices=matrices) for matrices in (2.0, 3.0)]
    ends = whole["vocab"] * whole["hidden"]
    return min(both, key=lambda one: abs(one.count * one.parameters + 1.5 * ends - float(row["params"])))


def _whole(row: dict[str, str], name: str, default: int | None = None) -> int:
    text = (row.get(name) or "").strip()
    if not text:
        if default is None:
            raise ValueError(f"{name} is empty.")
        return default
    value = float(text)
    if not (value >= 1 and value == int(value)):
        raise ValueError(f"{name} is {text}, not a whole number of at least 1.")
    return int(value)


def _kernel(arch: str, software: str, head_dim: int) -> Kernel:
    year = re.search(r"(?<![0-9])20[0-9]{2}(?![0-9])", software)
    if head_dim % FUSED_MULTIPLE or (year is not None and int(year[0]) < FUSED_SINCE):
        return Kernel.WRITTEN
    return Kernel.GENERIC if "alibi" in arch.lower() else Kernel.FUSED


def _zero(text: str) -> int:
    """Return the level that the words name: the digit after zero, else 1 where nothing is said, 0 for none."""
    lowered = text.lower()
    for level in (3, 2, 1):
        if f"zero{level}" in lowered or f"zero-{level}" in lowered:
            return level
    return 3 if "fsdp" in lowered else 0 if lowered in ("none", "0", "zero0", "ddp") else 1


def _recompute(text: str) -> float | None:
    """Return the share of layers that run twice; attention alone (selective) is run again by every fused kernel anyway."""
    lowered = text.strip().lower()
    if lowered in ("", "unstated", "unknown"):
        return None
    return 1.0 if lowered.startswith(("full", "yes", "true", "block", "uniform")) else 0.0


def _precision(text: str) -> int:
    lowered = text.lower()
    for word, kind in (("mxfp8", MXFP8), ("fp4", NVFP4), ("fp8", FP8), ("float8", FP8), ("tf32", TF32), ("fp32", TF32)):
        if word in lowered:
            return kind
    return BF16


def _tokens_s(row: dict[str, str], block: Block, vocab: int, seq_len: int) -> float:
    text = row["tokens_per_s_per_chip"].strip()
    if text:
        value = float(text)
    elif row["tflops_convention"].startswith("hardware"):
        hidden = block.hidden
        per_token = 96 * block.count * hidden**2 * (1 + seq_len / (6 * hidden) + vocab / (16 * block.count * hidden))
        value = float(row["measured_tflops_per_chip"]) * 1e12 / per_token
    else:
        raise ValueError("neither tokens a second nor hardware FLOP/s are given.")
    if not 0 < value < 1e9:
        raise ValueError(f"{value:g} tokens a second for each chip is no measurement.")
    return value
