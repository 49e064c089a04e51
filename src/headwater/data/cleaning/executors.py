"""Where the work of a run is done: in this process, in processes of this machine, or on Ray Data. The work is the same.

An executor takes a function of one item and the items, and gives the results in any order. It never holds more than a few items.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any, Literal, Protocol, TypeVar

from headwater.core.errors import StepFailed, Unavailable

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")
Kind = Literal["local", "ray"]
AHEAD = 2
"""Items in flight per worker."""


class Executor(Protocol):
    """Runs a function over items."""

    def run(self, work: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
        """Give the result of each item, in any order."""
        ...

    def close(self) -> None:
        """Let go of the workers."""
        ...


class Here:
    """Works in this process, one item after the other."""

    def run(self, work: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
        """Give the results in order."""
        return map(work, items)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


class Processes:
    """Works in processes of this machine."""

    def __init__(self, workers: int) -> None:
        """Start them; they are fresh interpreters, so that no lock of this process is copied."""
        self._workers = workers
        self._pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ready)

    def run(self, work: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
        """Give the results as they come. Raises StepFailed where a worker was killed."""
        waiting: set[Future[R]] = set()
        source = iter(items)
        try:
            while True:
                for item in islice(source, AHEAD * self._workers - len(waiting)):
                    waiting.add(self._pool.submit(work, item))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for one in done:
                    yield one.result()
        except BrokenProcessPool as error:
            raise StepFailed(
                "A worker process was ended from outside, perhaps for want of memory.",
                "Give the same command again with fewer workers: it goes on where it stopped.",
            ) from error

    def close(self) -> None:
        """End the workers once what they do is done."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _ready() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class RayData:
    """Works on Ray Data, a window of items at a time. The work folder must be on a disk that all nodes share."""

    def __init__(self, workers: int) -> None:
        """Join the running Ray, or start one here. Raises Unavailable where it is not installed."""
        try:
            import ray
        except ImportError as error:
            raise Unavailable("Ray is not installed.", "pip install 'headwater[ray]', or leave '--on' out.") from error
        self._workers = workers
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)

    def run(self, work: Callable[[I], R], items: Iterable[I]) -> Iterator[R]:
        """Give the results window by window."""
        import pickle

        import ray

        def one(row: dict[str, Any]) -> dict[str, Any]:
            return {"done": pickle.dumps(work(pickle.loads(row["item"])))}  # noqa: S301 - made three lines below

        source = iter(items)
        while window := list(islice(source, AHEAD * self._workers)):
            data = ray.data.from_items([{"item": pickle.dumps(item)} for item in window], override_num_blocks=len(window))
            for row in data.map(one).take_all():
                yield pickle.loads(row["done"])  # noqa: S301 - made by our own workers

    def close(self) -> None:
        """End the Ray that was started here."""
        import ray

        if self._started:
            ray.shutdown()


def opened(kind: Kind, workers: int) -> Executor:
    """Return the executor of a kind."""
    if kind == "ray":
        return RayData(workers)
    return Processes(workers) if workers > 1 else Here()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
