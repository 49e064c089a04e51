"""ONNX Runtime's own 8-bit forms: weights beforehand, activations as they come (dynamic) or by calibration (static)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from headwater.framework.compression.engine import Candidate, Engine, Given
from headwater.framework.runtimes.onnx import FILE, graph_bytes, open_bytes


def settings(given: Given) -> list[str]:
    """Return the settings: static needs inputs to calibrate on."""
    return ["int8-dynamic", *(["int8-static"] if given.calibration else [])]


def make(given: Given, setting: str, folder: Path) -> Candidate:
    """Return the program in 8 bits. The graph without quantisation is written for the tool, and removed again."""
    import onnxruntime
    from onnxruntime import quantization

    plain, small = folder / "plain.onnx", folder / FILE
    plain.write_bytes(graph_bytes(given.program))
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        if setting == "int8-dynamic":
            quantization.quantize_dynamic(plain, small, weight_type=quantization.QuantType.QInt8)
        else:
            options = {"quant_format": quantization.QuantFormat.QDQ, "per_channel": True, "weight_type": quantization.QuantType.QInt8}
            quantization.quantize_static(plain, small, _reader(given), **options)
    finally:
        logger.setLevel(level)
        plain.unlink()
    return Candidate(ask=open_bytes(small.read_bytes()), folder=folder, receipt={"onnxruntime": onnxruntime.__version__})


def _reader(given: Given) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc] # its module has no types
        def __init__(self) -> None:
            self.rows = iter([{f"input_{place}": array for place, array in enumerate(batch)} for batch in given.calibration])

        def get_next(self) -> Any:
            return next(self.rows, None)

    return Reader()


ENGINE = Engine(name="onnxruntime", settings=settings, make=make)
