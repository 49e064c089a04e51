"""torchao: linear layers' weights in 8 bits, run by torch itself. It needs the eager module, and on a CPU seldom pays in time."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput
from headwater.framework.compression.engine import Candidate, Engine, Given


def settings(given: Given) -> list[str]:
    """Return the settings: it works on the eager module alone."""
    return ["int8-weights"] if given.program.model is not None else []


def make(given: Given, setting: str, folder: Path) -> Candidate:
    """Return the module with its linear weights in 8 bits."""
    import torch

    logging.getLogger("torchao").setLevel(logging.ERROR)
    with contextlib.redirect_stderr(io.StringIO()):
        import torchao
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

    from headwater.framework.program.frozen import answers

    if given.program.model is None:
        raise BadInput("torchao needs the eager module.", "Freeze the module in this process.")
    model = copy.deepcopy(given.program.model).eval()
    quantize_(model, Int8WeightOnlyConfig(version=2))
    torch.save(model.state_dict(), folder / "state.pt")

    def ask(*arrays: Any) -> Any:
        with torch.inference_mode():
            return [one.float().numpy() for one in answers(model(*map(torch.from_numpy, arrays)))]

    return Candidate(ask=ask, folder=folder, receipt={"torchao": torchao.__version__, "setting": setting})


ENGINE = Engine(name="torchao", settings=settings, make=make, extra="compress")
