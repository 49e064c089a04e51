"""Several processes of this machine that do one thing together: started, waited for, and none left behind.

Import it only inside a function: it imports torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from headwater.core.errors import StepFailed

LOOK_S = 0.1


def together(rank: Callable[..., None], arguments: tuple[Any, ...], *, ranks: int, patience_s: float, whose: str) -> None:
    """Run `rank(number, *arguments)` in as many processes, and return when all have ended.

    Raises StepFailed, naming `whose` processes they were, where one fails or dies, or the time is up.
    """
    started = start_processes(rank, arguments, nprocs=ranks, join=False, start_method="spawn")  # type: ignore[no-untyped-call]
    until = time.monotonic() + patience_s
    try:
        while not started.join(timeout=LOOK_S):
            if time.monotonic() > until:
                raise StepFailed(f"The processes of the {whose} did not end in {patience_s:g} s.", "Allow more time, or do less at once.")
    except (ProcessRaisedException, ProcessExitedException) as error:
        said = str(error).strip().splitlines()[-1][:300]
        raise StepFailed(f"A process of the {whose} failed: {said}", "Look at its own words above.") from error
    finally:
        for process in started.processes:
            if process.is_alive():
                process.kill()
