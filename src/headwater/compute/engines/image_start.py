"""The first act of an attempt in an image: `python3 -P -m headwater.compute.engines.image_start FOLDER`. Standard library only.

It gives the job this image's Python and environment, in which the device plug-in has said which accelerators are its own, then
becomes the runner (see `runner.py`).
"""

from __future__ import annotations

import json
import os
import sys

from headwater.compute.engines.devices import VARIABLES


def environment(told: dict[str, str], accelerators: bool) -> dict[str, str]:
    """Return a job's environment: this container's, under what its work names. Indices of the whole cluster mean nothing in here."""
    asked = {name: value for name, value in told.items() if name not in VARIABLES}
    shown = {} if accelerators else dict.fromkeys(VARIABLES, "")
    path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"
    return dict(os.environ) | shown | asked | {"PATH": path}


def main(folder: str) -> None:
    """Write what holds in this image into `work.json` and become the runner."""
    path = os.path.join(folder, "work.json")
    with open(path, encoding="utf-8") as file:
        work = json.load(file)
    if work["step"]:
        work["argv"] = [sys.executable, *work["argv"][1:]]
    work["environment"] = environment(work["environment"], work["accelerators"])
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump(work, file)
    os.rename(f"{path}.part", path)
    runner = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runner.py")
    os.execv(sys.executable, [sys.executable, "-I", "-S", runner, folder])  # noqa: S606 - a program and its arguments, no shell


if __name__ == "__main__":
    main(sys.argv[1])
