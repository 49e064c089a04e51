"""NNCF over OpenVINO: weights in 8 or 4 bits without data, or weights and activations in 8 bits by calibration."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

from headwater.framework.compression.engine import Candidate, Engine, Given
from headwater.framework.runtimes import openvino as form

GROUP = 64


def settings(given: Given) -> list[str]:
    """Return the settings: 8 bits throughout need inputs to calibrate on."""
    return ["int8-weights", "int4-weights", *(["int8"] if given.calibration else [])]


def make(given: Given, setting: str, folder: Path) -> Candidate:
    """Return the program compressed."""
    import nncf
    import openvino

    logging.getLogger("nncf").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model = _compressed(nncf, form.converted(given.program), setting, given)
        openvino.save_model(model, folder / form.FILE, compress_to_fp16=False)
    receipt = {"nncf": nncf.__version__, "openvino": openvino.__version__.partition("-")[0]}
    return Candidate(ask=form.open_folder(folder), folder=folder, receipt=receipt)


def _compressed(nncf: Any, model: Any, setting: str, given: Given) -> Any:
    if setting == "int8":
        names = [one.get_any_name() for one in model.inputs]
        rows = [dict(zip(names, batch, strict=True)) for batch in given.calibration]
        return nncf.quantize(model, nncf.Dataset(rows), subset_size=len(rows))
    if setting == "int4-weights":
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT4_ASYM, group_size=GROUP, all_layers=False)
    return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)


ENGINE = Engine(name="nncf", settings=settings, make=make, extra="compress")
