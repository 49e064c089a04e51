"""The process that runs one step: `python -m headwater.step TASK_FOLDER`.

It reads `task.json` in the folder, runs the step there, and writes `result.json`. A refusal or failure
is written to `error.json` and the exit status is 1; an unexpected fault prints its traceback to the job's log.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import ValidationError

from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.steps import STEPS, Task, write_result


def load(folder: Path) -> Task:
    """Return the task that a folder describes."""
    told = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    declared = STEPS.get(told["step"])
    try:
        params = declared.params.model_validate(told["params"])
    except ValidationError as error:
        raise BadInput(f"Step {told['step']} was given parameters that do not fit: {error}.") from error
    return Task(
        step=told["step"],
        params=params,
        folder=folder,
        inputs={name: folder / "inputs" / name for name in told["inputs"]},
        digests=told["inputs"],
        project=told["project"],
        job=told["job"],
        actor=told["actor"],
        organisation=told["organisation"],
        seed=told["seed"],
        settings=told["settings"],
    )


def main(folder: Path) -> int:
    """Run the task in a folder and return the exit status."""
    try:
        task = load(folder)
        STEPS.get(task.step).run(task)
        write_result(task)
    except HeadwaterError as error:
        (folder / "error.json").write_text(json.dumps({"code": error.code, "message": str(error)}, ensure_ascii=False), encoding="utf-8")
        print(f"{error.code}: {error}", file=sys.stderr)  # noqa: T201 - the job's log is this process's output
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
