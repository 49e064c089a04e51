"""llm-compressor, where it is installed: a decoder's linear weights in 8 or 4 bits, in the form that vLLM reads.

It is no extra of Headwater's, because it pins other versions of what Headwater uses: install it beside where you want it.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

from headwater.framework.compression.engine import Candidate, Engine, Given

SCHEMES = {"int8-weights": "W8A16", "int4-weights": "W4A16"}


def settings(given: Given) -> list[str]:
    """Return the schemes, for a decoder whose eager module is at hand."""
    from headwater.framework.training.tasks.language import Decoder

    return list(SCHEMES) if isinstance(given.program.model, Decoder) else []


def make(given: Given, setting: str, folder: Path) -> Candidate:
    """Return the decoder compressed; it is asked through transformers, which reads what vLLM reads."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import llmcompressor
        from llmcompressor.modifiers.quantization import QuantizationModifier

        from headwater.framework.runtimes import vllm

        recipe = QuantizationModifier(targets="Linear", scheme=SCHEMES[setting], ignore=["lm_head"])
        with tempfile.TemporaryDirectory() as plain:
            vllm.build(given.program, Path(plain))
            llmcompressor.oneshot(model=plain, recipe=recipe, output_dir=str(folder))
        ask = _asked(folder)
    return Candidate(ask=ask, folder=folder, receipt={"llmcompressor": llmcompressor.__version__, "scheme": SCHEMES[setting]})


def _asked(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    model.eval()

    def ask(*arrays: Any) -> Any:
        with torch.inference_mode():
            return [model(torch.from_numpy(arrays[0])).logits.float().numpy()]

    return ask


ENGINE = Engine(name="llmcompressor", settings=settings, make=make)
