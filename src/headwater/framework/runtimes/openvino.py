"""OpenVINO's own form, made from the program without a detour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.framework.runtimes.runtime import Ask, Runtime

if TYPE_CHECKING:
    from headwater.framework.program.frozen import Program

FILE = "model.xml"


def build(program: Program, folder: Path) -> None:
    """Write `model.xml` and `model.bin`."""
    import openvino

    openvino.save_model(converted(program), folder / FILE, compress_to_fp16=False)


def converted(program: Program) -> Any:
    """Return the program as OpenVINO's model."""
    import openvino

    from headwater.framework.program.frozen import quiet

    with quiet():
        return openvino.convert_model(program.graph, example_input=program.example)


def opened(model: Any) -> Ask:
    """Return a function that answers with a model on the processor, in full precision."""
    import numpy as np
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()

    def ask(*arrays: Any) -> Any:
        request.infer(list(arrays))
        return [np.array(request.get_output_tensor(place).data) for place in range(len(compiled.outputs))]

    return ask


def open_folder(folder: Path) -> Ask:
    """Return a function that answers with the model in a folder."""
    return opened(folder / FILE)


RUNTIME = Runtime(name="openvino", build=build, open=open_folder, extra="compress")
