"""A plug-in's steps, which the engine contract runs on every engine: the same work, declared for either place."""

from __future__ import annotations

import sys
import time
from typing import Literal

from headwater.core.errors import StepFailed
from headwater.core.steps import Params, Port, Task, params_of, step


class Act(Params):
    do: Literal["copy", "refuse", "crash", "exit", "wait", "fill"] = "copy"
    most_s: float = 20.0


def act(task: Task) -> None:
    """Do what is asked; `wait` ends when a file `go` appears in the folder."""
    params = params_of(task, Act)
    with (task.folder / "starts.txt").open("a") as file:
        file.write("started\n")
    if params.do == "refuse":
        raise StepFailed("The table has 0 rows.", "Give it rows.")
    if params.do == "crash":
        raise ZeroDivisionError("no rows to divide by")
    if params.do == "exit":
        sys.exit(7)
    if params.do == "fill":
        with (task.folder / "outputs" / "large").open("wb") as file:
            file.write(bytes(64 << 20))
    last_s = time.monotonic() + params.most_s
    while params.do == "wait" and not (task.folder / "go").exists() and time.monotonic() < last_s:
        time.sleep(0.01)
    if "text" in task.inputs:
        task.output("copy").write_bytes(task.input("text").read_bytes())
    task.measure(rows=3)
    task.progress(1, 1, "done")


on_an_engine = step("contract.engine", summary="Act.", params=Act, inputs={"text": Port("any", required=False)})(act)
in_the_platform = step("contract.platform", summary="Act.", params=Act, inputs={"text": Port("any", required=False)}, place="platform")(act)
