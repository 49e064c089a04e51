"""The process that watches over one attempt of a job: `python -I -S runner.py FOLDER [LOCK_FD]`.

It uses the standard library alone (`-S`), so that it starts in milliseconds and cannot reach the
platform; the rest of it is in `watch.py`. It outlives the server. One attempt starts at most once:
the runner holds an exclusive lock on `FOLDER/lock` to its end (taken here, or handed down open as
LOCK_FD), and gives way where `runner.json` or `exit.json` exists.

Files in FOLDER: it reads `work.json` (argv, environment, limits, grace_s, bell), writes `runner.json`
(who it is), `log.txt` (the job's output, head and tail), and as its last act `exit.json`; a file
named `cancel` asks it to end the job. A bare SIGTERM is a machine going down: the attempt is then
lost, not cancelled. No process of the job survives: the runner is their subreaper, so that even
one that left its session comes back to it, and it kills until none is left.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path.append(os.path.dirname(package))
    from headwater.compute.engines.watch import main

    os._exit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None))
