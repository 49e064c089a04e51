"""A run over several processes of this machine that outlives the loss of some, and takes in more while it runs.

A rank that dies takes the others down with it; the run goes on from the last checkpoint with those that are left. `resize` asks for
another number: the run stops after a step with a checkpoint, and goes on with that many. Because neither the examples of a step nor
a checkpoint depends on how many ranks there are, the result is that of an undisturbed run, to rounding.
Import it only inside a function: it imports torch.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from headwater.core.errors import BadInput, HeadwaterError, StepFailed
from headwater.framework.training.course import Course
from headwater.framework.training.task import Task
from headwater.framework.training.trainer import Point, Told, silent, train

WANTED, OUTCOME, STATE, STOP = "wanted-ranks", "outcome.json", "whole.pt", "stop"
MOST_RANKS = 256
LOOK_S = 0.05
Make = Callable[[], Task]
"""A function of a module's top level, or a partial of one: every process calls it and must get the same."""

log = structlog.get_logger("headwater.framework")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a run over ranks: the whole model's state, and how many ranks each stretch of it had."""

    state: Mapping[str, Any]
    step: int
    stopped: bool
    curve: tuple[Point, ...]
    units_per_s: float
    stretches: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where ranks run: a torch device type, the back end of their group, and the threads of each."""

    device: str = "cpu"
    backend: str = "gloo"
    threads: int = 1


def resize(folder: Path, ranks: int) -> None:
    """Ask a run to go on with another number of ranks from its next step on."""
    if not 1 <= ranks <= MOST_RANKS:
        raise BadInput(f"{ranks} ranks.", f"Ask for between 1 and {MOST_RANKS}.")
    part = folder / f"{WANTED}.part"
    part.write_text(str(ranks), encoding="ascii")
    part.replace(folder / WANTED)


def run(
    make: Make,
    course: Course,
    folder: Path,
    *,
    ranks: int,
    least: int = 1,
    losses: int = 3,
    place: Place | None = None,
    told: Told = silent,
) -> Result:
    """Train over `ranks` processes, with checkpoints in `folder`. At most `losses` times may ranks die, and `least` must be left.

    Raises what a rank raised (a loss that is no number ends the run at once), StepFailed where too many ranks died. No process is
    left behind. SIGTERM stops it as it stops a run of one process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WANTED).unlink(missing_ok=True)
    stretches: list[int] = []
    with tempfile.TemporaryDirectory() as scratch, passed_on(Path(scratch) / STOP):
        while True:
            stretches.append(ranks)
            meeting = Path(scratch) / str(len(stretches))
            meeting.mkdir()
            died = _stretch(make, course, folder, ranks, meeting, place or Place(), told)
            if died is None:
                outcome = json.loads((meeting / OUTCOME).read_text(encoding="utf-8"))
                wanted = _wanted(folder) or ranks
                if not outcome["stopped"] or (Path(scratch) / STOP).exists() or wanted == ranks:
                    return _result(meeting, outcome, tuple(stretches))
                ranks = wanted
                continue
            losses -= 1
            if losses < 0 or ranks - 1 < least:
                raise StepFailed(f"{died} {ranks - 1} of {ranks} ranks are left.", f"At least {least} are needed: start it again.")
            log.warning("ranks.lost", said=died, left=ranks - 1)
            ranks -= 1


@contextmanager
def passed_on(flag: Path) -> Iterator[None]:
    """Leave a flag for the ranks when SIGTERM comes to this process, where it is the main thread's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: flag.touch())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stretch(make: Make, course: Course, folder: Path, ranks: int, meeting: Path, place: Place, told: Told) -> str | None:
    """Run until all ranks ended, and return nothing; or until one died, and return what is known of it."""
    arguments = (make, course, folder, ranks, meeting, place)
    started = start_processes(_rank, arguments, nprocs=ranks, join=False, start_method="spawn")  # type: ignore[no-untyped-call]
    heard = 0
    try:
        while not started.join(timeout=LOOK_S):
            heard = _pass_on(meeting, heard, told)
        _pass_on(meeting, heard, told)
        return None
    except ProcessRaisedException as error:
        raise _raised(meeting, error) from error
    except ProcessExitedException as error:
        return f"Rank {error.error_index} died ({error.signal_name or f'exit code {error.exit_code}'})."
    finally:
        for process in started.processes:
            if process.is_alive():
                process.kill()
            process.join()


def _pass_on(meeting: Path, heard: int, told: Told) -> int:
    """Tell what the first rank wrote of its progress since, and return how far it was read."""
    try:
        with (meeting / "progress").open("rb") as file:
            file.seek(heard)
            fresh = file.read()
    except FileNotFoundError:
        return heard
    whole = fresh[: fresh.rfind(b"\n") + 1]
    for line in whole.splitlines():
        told(*json.loads(line))
    return heard + len(whole)


def _raised(meeting: Path, error: Exception) -> Exception:
    """Return what a rank raised on purpose, anything else as a failed step with its last line."""
    for file in sorted(meeting.glob("error-*")):
        said = pickle.loads(file.read_bytes())  # noqa: S301 - written by a rank of ours into a folder of ours
        assert isinstance(said, HeadwaterError)
        return said
    return StepFailed(f"A rank failed: {str(error).strip().splitlines()[-1][:300]}", "Look at its own words above.")


def _wanted(folder: Path) -> int | None:
    try:
        return int((folder / WANTED).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _result(meeting: Path, outcome: Mapping[str, Any], stretches: tuple[int, ...]) -> Result:
    curve = tuple(Point(**point) for point in outcome["curve"])
    state = torch.load(meeting / STATE, weights_only=True)
    kept = {name: outcome[name] for name in ("step", "stopped", "units_per_s")}
    return Result(state=state, curve=curve, stretches=stretches, **kept)


def _rank(rank: int, make: Make, course: Course, folder: Path, ranks: int, meeting: Path, place: Place) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a signal to the whole group is passed on by the parent
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(place.threads)
    device = place.device if place.device == "cpu" else f"{place.device}:{rank}"
    dist.init_process_group(place.backend, rank=rank, world_size=ranks, init_method=f"file://{meeting}/meeting")
    try:
        _part(rank, make(), course, folder, ranks, meeting, device)
    except HeadwaterError as error:
        (meeting / f"error-{rank}").write_bytes(pickle.dumps(error))
        raise
    finally:
        dist.destroy_process_group()


def _part(rank: int, task: Task, course: Course, folder: Path, ranks: int, meeting: Path, device: str) -> None:
    def told(step: int, of: int, words: str, figures: Mapping[str, float]) -> None:
        with (meeting / "progress").open("a", encoding="utf-8") as file:
            file.write(json.dumps([step, of, words, dict(figures)]) + "\n")

    def should_stop(_: int) -> bool:
        wanted = _wanted(folder) if rank == 0 else None
        return (meeting.parent / STOP).exists() or wanted not in (None, ranks)

    trained = train(task, course, device=device, folder=folder, told=told, should_stop=should_stop)
    state = get_model_state_dict(trained.model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if rank == 0:
        torch.save(dict(state), meeting / STATE)
        outcome = {"step": trained.step, "stopped": trained.stopped, "units_per_s": trained.units_per_s}
        text = json.dumps(outcome | {"curve": [asdict(point) for point in trained.curve]})
        (meeting / OUTCOME).write_text(text, encoding="utf-8")
