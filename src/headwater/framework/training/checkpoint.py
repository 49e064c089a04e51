"""Checkpoints that survive a change of layout, a full disk and a torn file.

A checkpoint is a folder `step-00000120` with torch's distributed checkpoint (every rank writes its own share), and `complete.json` with
the digest of every file, written last. One without it, or whose digests do not fit, is passed over for the one before. The last two
are kept. Import it only inside a function: it imports torch.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load as load_state
from torch.distributed.checkpoint.state_dict_saver import save as save_state

from headwater.core import digests
from headwater.core.errors import Broken, Unavailable

NAME = re.compile(r"step-(\d{8})")
COMPLETE = "complete.json"
KEPT = 2
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CUT_SHORT = "inline_container"
"""The source file that torch names where an archive could not be finished."""

log = structlog.get_logger("headwater.framework")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a run stands in a checkpoint: the step that was done last, and what was measured so far."""

    step: int
    told: Mapping[str, Any]


def save(folder: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, told: Mapping[str, Any]) -> Path:
    """Write a checkpoint and return its folder. Every rank calls it, with the same arguments but its own share of the state.

    Raises Unavailable where the disk refuses; the checkpoints before are then as they were.
    """
    path, part = folder / f"step-{step:08d}", folder / f"step-{step:08d}.part"
    if is_first():
        shutil.rmtree(part, ignore_errors=True)
    meet()
    try:
        _write(part, model, optimizer)
        if is_first():
            _complete(part, step, told)
            shutil.rmtree(path, ignore_errors=True)
            part.rename(path)
            _drop_old(folder)
    except (Exception, CheckpointException) as error:  # torch's own is no Exception
        shutil.rmtree(part, ignore_errors=True)
        raise _refused(error, folder) from error
    meet()
    return path


def _write(part: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    weights, moments = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": moments}
    with alone_is_meant():
        save_state(state, storage_writer=FileSystemWriter(part, sync_files=True), no_dist=not dist.is_initialized())


def _complete(part: Path, step: int, told: Mapping[str, Any]) -> None:
    found = {file.name: digests.of_file(file) for file in sorted(part.iterdir())}
    with (part / COMPLETE).open("w", encoding="utf-8") as file:
        json.dump({"step": step, "told": dict(told), "digests": found}, file)
        file.flush()
        os.fsync(file.fileno())


def _drop_old(folder: Path) -> None:
    for old in sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _refused(error: BaseException, folder: Path) -> BaseException:
    """Return what to raise. Torch wraps the disk's refusal, or only says that its archive did not come out as long as it should."""
    said = str(error)
    refusals = [os.strerror(number) for number in NO_ROOM if os.strerror(number) in said]
    if not refusals and CUT_SHORT not in said and not isinstance(error, OSError):
        return error
    why = refusals[0] if refusals else "the disk took less than was written"
    return Unavailable(f"A checkpoint cannot be written: {why}.", "Free some space; the last one is whole.", where=str(folder))


def load(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Found | None:
    """Bring the newest whole checkpoint into the model and optimizer, in their own layout; None where there is none.

    Raises Broken where there are checkpoints and none of them is whole.
    """
    there = sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), reverse=True) if folder.is_dir() else []
    for path in there:
        found = _whole(path)
        if found is None:
            log.warning("checkpoint.passed_over", folder=str(path))
            continue
        weights, moments = get_state_dict(model, optimizer)
        state: dict[str, Any] = {"model": weights, "optimizer": moments}
        with alone_is_meant():
            load_state(state, storage_reader=FileSystemReader(path), no_dist=not dist.is_initialized())
        set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        return found
    if there:
        names = ", ".join(path.name for path in there)
        raise Broken(f"No checkpoint is whole: {names}.", "Restore one from a backup, or remove them to start anew.", where=str(folder))
    return None


def _whole(path: Path) -> Found | None:
    """Return where a checkpoint stands, or None where a file is missing or its bytes are not those that were written."""
    try:
        told = json.loads((path / COMPLETE).read_text(encoding="utf-8"))
        right = all(digests.of_file(path / name) == value for name, value in told["digests"].items())
        return Found(step=int(told["step"]), told=told["told"]) if right else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def alone_is_meant() -> Iterator[None]:
    """Keep torch from warning that there is no process group: one process is as good as many here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
        yield


def is_first() -> bool:
    """Tell whether this is the first rank, or the only process."""
    return not dist.is_initialized() or dist.get_rank() == 0


def meet() -> None:
    """Wait for the other ranks."""
    if dist.is_initialized():
        dist.barrier()
