"""The first act of an attempt on a Ray node: `python -I -S ray_start.py FOLDER`. Standard library only.

It claims this job's accelerators by locks, since Ray only counts them, and starts the runner (see `runner.py`) in a session of
its own. Ray ends what it started by killing it; the kernel then asks the runner to go, and it still has the time to end all of the
job's processes and to write down that the attempt was lost.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time

NODE = "HW_NODE"
"""Variable that tells apart the Ray nodes of one machine, where there are several."""
CLAIM_S = 15.0
CLAIM_AGAIN_S = 0.2
LOST = 75
"""Exit status of an attempt that did not come to run for no fault of its own: sysexits' EX_TEMPFAIL."""
PR_SET_PDEATHSIG = 1


def own_devices(asked: dict[str, int], most: dict[str, int]) -> dict[int, int] | None:
    """Return the indices of this job's accelerators, each with its lock; None where others still hold them after a while.

    `most` is how many of each chip a node has. Ray may give them out again before the job that was killed on them has quite ended.
    """
    from headwater.compute.engines.devices import claimed

    last_try_s = time.monotonic() + CLAIM_S
    found: dict[int, int] = {}
    for chip, count in sorted(asked.items()):
        while len(held := claimed(os.environ.get(NODE, "node"), chip, count, most=most[chip])) < count:
            for lock in held.values():
                os.close(lock)
            if time.monotonic() > last_try_s:
                print(f"{count} of {chip} were given to this job, and others on this node hold them.", flush=True)  # noqa: T201 - to Ray's log
                return None
            time.sleep(CLAIM_AGAIN_S)
        found |= held
    return found


def run(runner: str, folder: str) -> int:
    """Run the runner to its end, and tell it to go when this process is told to go or killed."""
    me = os.getpid()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Ray blocks SIGINT in what it starts
    pid = os.fork()
    if pid == 0:
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != me:
            os._exit(LOST)
        os.execve(sys.executable, [sys.executable, "-I", "-S", runner, folder], {"LANG": "C.UTF-8"})  # noqa: S606 - a program, no shell
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(folder: str) -> int:
    """Write the devices into `work.json` and run the runner. An attempt that was ended before it began is left alone."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(here))))
    from headwater.compute.engines.devices import visible_devices

    path = os.path.join(folder, "work.json")
    if os.path.exists(os.path.join(folder, "exit.json")) or not os.path.exists(path):
        return 0
    with open(path, encoding="utf-8") as file:
        work = json.load(file)
    if work["accelerators"]:
        devices = own_devices(work["accelerators"], work["most"])
        if devices is None:
            return LOST
        work["environment"] |= visible_devices(list(devices))
        with open(f"{path}.part", "w", encoding="utf-8") as file:
            json.dump(work, file)
        os.rename(f"{path}.part", path)
    return run(os.path.join(here, "runner.py"), folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
