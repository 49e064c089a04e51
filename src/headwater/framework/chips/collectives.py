"""Which collectives of a back end work, in which number formats: real processes on this machine, each result checked to the number.

Import it only inside a function: it imports torch.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from headwater.framework.chips.conformance import DTYPES, Outcome
from headwater.framework.processes import together

LENGTH = 24
TIMED_BYTES = (1 << 10, 1 << 16, 1 << 20, 1 << 24)
FORMATS = ("fp64", "fp32", "bf16", "fp16", "int64")


def run(backend: str, torch_device: str, *, ranks: int = 2, patience_s: float = 120.0) -> tuple[tuple[Outcome, ...], dict[str, float]]:
    """Return what each collective gives on `ranks` processes, and all-reduce rates in GB/s (bus bandwidth) by message size in bytes.

    Raises StepFailed where a process dies or the time is up; no process is left behind.
    """
    with tempfile.TemporaryDirectory() as folder:
        together(_rank, (folder, backend, torch_device, ranks), ranks=ranks, patience_s=patience_s, whose="suite")
        told = json.loads((Path(folder) / "told.json").read_text(encoding="utf-8"))
    return tuple(Outcome(**one) for one in told["outcomes"]), told["rates"]


def _rank(rank: int, folder: str, backend: str, torch_device: str, ranks: int) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)  # torch renames these calls; both names are there
    device = torch_device if torch_device == "cpu" else f"{torch_device}:{rank}"
    dist.init_process_group(backend, rank=rank, world_size=ranks, init_method=f"file://{folder}/meeting")
    try:
        outcomes = [_tried(name, dtype, call, device, rank, ranks) for name, call in CALLS.items() for dtype in FORMATS]
        rates = {str(size): _rate(size, device, ranks) for size in TIMED_BYTES}
        if rank == 0:
            told = {"outcomes": [asdict(one) for one in outcomes], "rates": rates}
            (Path(folder) / "told.json").write_text(json.dumps(told), encoding="utf-8")
    finally:
        dist.destroy_process_group()


def _tried(name: str, dtype: str, call: Callable[..., bool], device: str, rank: int, ranks: int) -> Outcome:
    kind = getattr(torch, DTYPES[dtype])
    try:
        right = call(torch.arange(LENGTH, device=device).to(kind) + rank, rank, ranks)
    except Exception as error:  # noqa: BLE001 - what a back end refuses is what the suite records
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        return Outcome(kind="collective", name=name, dtype=dtype, verdict="refused", said=said)
    return Outcome(kind="collective", name=name, dtype=dtype, verdict="works" if right else "differs")


def _of(rank: int, like: Any) -> Any:
    """Return what another rank gave."""
    return torch.arange(LENGTH, device=like.device).to(like.dtype) + rank


def _all_reduce(mine: Any, _: int, ranks: int) -> bool:
    wanted = sum(_of(one, mine) for one in range(ranks))
    dist.all_reduce(mine)
    return bool((mine == wanted).all())


def _all_reduce_max(mine: Any, _: int, ranks: int) -> bool:
    dist.all_reduce(mine, dist.ReduceOp.MAX)
    return bool((mine == _of(ranks - 1, mine)).all())


def _broadcast(mine: Any, *_: int) -> bool:
    dist.broadcast(mine, 0)
    return bool((mine == _of(0, mine)).all())


def _all_gather(mine: Any, _: int, ranks: int) -> bool:
    out = torch.empty(ranks * LENGTH, dtype=mine.dtype, device=mine.device)
    dist.all_gather_into_tensor(out, mine)
    return bool((out == torch.cat([_of(one, mine) for one in range(ranks)])).all())


def _reduce_scatter(mine: Any, rank: int, ranks: int) -> bool:
    part = LENGTH // ranks
    out, mine = torch.empty(part, dtype=mine.dtype, device=mine.device), mine[: part * ranks].contiguous()
    dist.reduce_scatter_tensor(out, mine)
    wanted = sum(_of(one, mine) for one in range(ranks))[: part * ranks]
    return bool((out == wanted[rank * part : (rank + 1) * part]).all())


def _all_to_all(mine: Any, rank: int, ranks: int) -> bool:
    part = LENGTH // ranks
    mine = mine[: part * ranks].contiguous()
    out = torch.empty_like(mine)
    dist.all_to_all_single(out, mine)
    return bool((out == torch.cat([_of(one, mine)[rank * part : (rank + 1) * part] for one in range(ranks)])).all())


def _send(mine: Any, rank: int, ranks: int) -> bool:
    got = torch.empty_like(mine)
    there, back = (rank + 1) % ranks, (rank - 1) % ranks
    for request in dist.batch_isend_irecv([dist.P2POp(dist.isend, mine, there), dist.P2POp(dist.irecv, got, back)]):
        request.wait()
    return bool((got == _of(back, mine)).all())


def _gather(mine: Any, rank: int, ranks: int) -> bool:
    out = [torch.empty_like(mine) for _ in range(ranks)] if rank == 0 else None
    dist.gather(mine, out, 0)
    return out is None or all(bool((one == _of(number, mine)).all()) for number, one in enumerate(out))


def _scatter(mine: Any, rank: int, ranks: int) -> bool:
    out = torch.empty_like(mine)
    dist.scatter(out, [_of(one, mine) for one in range(ranks)] if rank == 0 else None, 0)
    return bool((out == _of(rank, mine)).all())


CALLS: dict[str, Callable[[Any, int, int], bool]] = {
    "all-reduce": _all_reduce,
    "all-reduce of the largest": _all_reduce_max,
    "broadcast": _broadcast,
    "all-gather": _all_gather,
    "reduce-scatter": _reduce_scatter,
    "all-to-all": _all_to_all,
    "send and receive": _send,
    "gather": _gather,
    "scatter": _scatter,
}


def _rate(size: int, device: str, ranks: int) -> float:
    """Return an all-reduce's bus bandwidth in GB/s: what each rank must send, 2 (n-1)/n of the message, over the median time."""
    given = torch.ones(size // 4, dtype=torch.float32, device=device)
    times = []
    for _ in range(7):
        dist.barrier()
        began = time.perf_counter()
        dist.all_reduce(given)
        given.sum().item()
        times.append(time.perf_counter() - began)
    return 2 * (ranks - 1) / ranks * size / sorted(times)[len(times) // 2] / 1e9
