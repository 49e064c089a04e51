"""A package of machine code for this kind of processor, made by AOTInductor; a C++ compiler is needed to build it, none to run it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import Unavailable
from headwater.framework.runtimes.runtime import Ask, Runtime

if TYPE_CHECKING:
    from headwater.framework.program.frozen import Program

FILE = "model.pt2"


def build(program: Program, folder: Path) -> None:
    """Compile the program into `model.pt2`. Raises Unavailable where there is no C++ compiler."""
    import torch

    from headwater.framework.program.frozen import quiet

    if shutil.which("g++") is None and shutil.which("c++") is None:
        raise Unavailable("There is no C++ compiler.", "Install g++, or choose another form.")
    with quiet():
        torch._inductor.aoti_compile_and_package(program.graph, package_path=str(folder / FILE))


def open_folder(folder: Path) -> Ask:
    """Return a function that answers with the package in a folder."""
    import torch

    from headwater.framework.program.frozen import answers, quiet

    with quiet():
        ready = torch._inductor.aoti_load_package(str(folder / FILE))

    def ask(*arrays: Any) -> Any:
        with torch.inference_mode():
            return [one.numpy() for one in answers(ready(*map(torch.from_numpy, arrays)))]

    return ask


RUNTIME = Runtime(name="aoti", build=build, open=open_folder)
