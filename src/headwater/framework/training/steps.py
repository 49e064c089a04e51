"""What a project can call to train, adapt, compress and ask models other than tables."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from headwater.core.errors import BadInput
from headwater.core.steps import Params, Port, Resources, Task, params_of, step
from headwater.framework.training.params import CourseParams

if TYPE_CHECKING:
    from headwater.framework.training.tasks.language import Language, Shape

LIBRARIES = ("torch", "numpy", "safetensors")
TRAINING = Resources(cpus=1, memory_gib=2, wall_s=3600, checkpoint_s=0)
MOST_TEXT = 1 << 30
CALIBRATED = 32


class ExamplesParams(Params):
    """Which examples, and how many."""

    kind: Literal["shapes", "sentences", "town"] = "shapes"
    count: int = Field(1000, ge=20, le=100_000)


class TextParams(CourseParams):
    """The decoder and how it is trained."""

    layers: int = Field(2, ge=1, le=64)
    width: int = Field(96, ge=8, le=4096)
    heads: int = Field(4, ge=1, le=64)
    window: int = Field(96, ge=8, le=4096, description="Bytes that are looked at together.")
    lora_rank: int = Field(0, ge=0, le=256, description="Adapt the base by corrections of this rank; 0 trains all weights anew.")


class PicturesParams(CourseParams):
    """The network and how it is trained."""

    side: int = Field(24, ge=8, le=512, description="Pictures are brought to so many pixels a side.")
    width: int = Field(16, ge=4, le=512)


class KnowledgeParams(CourseParams):
    """The graph's model and how it is trained."""

    dimensions: int = Field(64, ge=4, le=1024)
    read: bool = Field(True, description="Whether what is written about entities counts too.")


class ShrinkParams(Params):
    """What may be lost, and what is to be least."""

    floor: float = Field(description="Least accuracy on what was held out; below it nothing is written.")
    aim: Literal["size", "latency"] = "latency"
    engines: tuple[str, ...] = Field((), max_length=20, description="Engines to try; all that are installed where left out.")
    rounds: int = Field(60, ge=3, le=10_000, description="Answers timed for each candidate.")


class FormParams(Params):
    """In which form a model is handed on."""

    to: str = Field("onnx", max_length=40, description="onnx, openvino, aoti, vllm, or another that is installed.")
    tolerance: float | None = Field(None, gt=0, description="Largest difference from eager; the form's own where left out.")


class WriteParams(Params):
    """What to go on from, how far, and what the text must be."""

    prompt: str = Field("", max_length=10_000)
    length: int = Field(200, ge=1, le=100_000, description="At most so many bytes.")
    temperature: float = Field(0.0, ge=0, le=10)
    json_schema: dict[str, Any] | None = Field(None, description="JSON Schema that the text must satisfy (needs the extra 'language').")
    grammar: str | None = Field(None, max_length=100_000, description="Grammar in GBNF that the text must satisfy instead.")


@step("framework.examples", summary="Make examples to try a recipe with.", params=ExamplesParams, outputs={"examples": Port("examples")})
def examples(task: Task) -> None:
    """Write shapes with captions, sentences, or a town as a graph of knowledge."""
    from headwater.framework.training.generated import KINDS

    params = params_of(task, ExamplesParams)
    KINDS[params.kind](task.output("examples"), params.count, task.seed)


@step(
    "framework.train_text",
    summary="Train a small decoder on text, or adapt one by LoRA.",
    params=TextParams,
    inputs={"text": Port("any", summary="a text file, or a folder with some"), "base": Port("decoder", required=False)},
    outputs={"model": Port("decoder")},
    resources=TRAINING,
    libraries=LIBRARIES,
)
def train_text(task: Task) -> None:
    """Write the decoder; one that was adapted has its corrections merged in."""
    params = params_of(task, TextParams)
    base = task.inputs.get("base")
    if params.lora_rank and base is None:
        raise BadInput("LoRA adapts a base, and none was given.", "Add 'base:' under 'with:', or set lora_rank to 0.")
    from headwater.framework.training import fitting
    from headwater.framework.training.tasks import language

    make = partial(read_text, task.input("text"), _shape(params, base), task.seed, base, params.lora_rank)
    adapted, told = fitting.fit(task, make, params)
    trained = sum(one.numel() for one in adapted.parameters() if one.requires_grad)
    made = language.without_lora(adapted)
    assert isinstance(made, language.Decoder)
    folder = task.output("model")
    language.save(folder, made)
    windows = told.held_windows()
    example = (windows[:2, :-1],)
    bounds = [{0: ("n", 1, 256), 1: ("t", 2, 4096)}]
    fitting.write_program(folder, made, example, ((windows[:, :-1],), windows[:, 1:]), bounds)
    task.measure(parameters=sum(one.numel() for one in made.parameters()), trained_parameters=trained)


def _shape(params: TextParams, base: Path | None) -> Shape:
    """Return the decoder's dimensions: the base's own, where one is adapted."""
    from headwater.framework.training.tasks import language

    if base is not None:
        return language.load(base).shape
    return language.Shape(layers=params.layers, width=params.width, heads=params.heads, window=params.window)


def read_text(source: Path, shape: Shape, seed: int, base: Path | None, rank: int) -> Language:
    """Return the task of learning a text. Raises BadInput where there is none, or it is too long."""
    from headwater.framework.training.tasks import language

    files = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.suffix in (".txt", ".md", ".jsonl"))
    total = sum(path.stat().st_size for path in files)
    if not files or total > MOST_TEXT:
        raise BadInput(
            f"{len(files)} text files with {total} bytes.", f"Give .txt, .md or .jsonl files of at most {MOST_TEXT} bytes in all."
        )
    text = b"\n".join(path.read_bytes() for path in files)
    return language.Language(text, shape, seed=seed, base=None if base is None else language.load(base), rank=rank)


@step(
    "framework.train_images",
    summary="Train a small convolutional network on pictures in a folder for each class.",
    params=PicturesParams,
    inputs={"examples": Port("any")},
    outputs={"model": Port("network")},
    resources=TRAINING,
    libraries=(*LIBRARIES, "pillow"),
)
def train_images(task: Task) -> None:
    """Write the network and its classes."""
    params = params_of(task, PicturesParams)
    from headwater.framework.training import fitting
    from headwater.framework.training.tasks.images import Images

    make = partial(Images, task.input("examples"), side=params.side, width=params.width, seed=task.seed)
    model, told = fitting.fit(task, make, params)
    folder = task.output("model")
    example = (told.held_pictures[:2],)
    fitting.write_program(folder, model, example, ((told.held_pictures,), told.held_labels), [{0: ("n", 1, 1024)}])
    (folder / "classes.json").write_text(json.dumps(told.classes) + "\n", encoding="utf-8")


@step(
    "framework.align",
    summary="Bring pictures and their captions into one space.",
    params=PicturesParams,
    inputs={"examples": Port("any", summary="a folder with captions.tsv")},
    outputs={"model": Port("aligned")},
    resources=TRAINING,
    libraries=(*LIBRARIES, "pillow"),
)
def align(task: Task) -> None:
    """Write both encoders as one program: pictures and captions to how well each fits each."""
    params = params_of(task, PicturesParams)
    from headwater.framework.training import fitting
    from headwater.framework.training.tasks.pairs import Pairs, as_bytes

    make = partial(Pairs, task.input("examples"), side=params.side, width=params.width, seed=task.seed)
    model, told = fitting.fit(task, make, params)
    import torch

    different = sorted(set(told.held_captions))
    wanted = torch.tensor([different.index(one) for one in told.held_captions])
    held = (told.held_pictures, as_bytes(different))
    folder = task.output("model")
    bounds = [{0: ("pictures", 1, 4096)}, {0: ("captions", 1, 4096)}]
    fitting.write_program(folder, model, (held[0][:3], held[1][:4]), (held, wanted), bounds)
    (folder / "captions.json").write_text(json.dumps(different, ensure_ascii=False) + "\n", encoding="utf-8")


@step(
    "framework.link",
    summary="Learn a graph of knowledge with the words about its entities.",
    params=KnowledgeParams,
    inputs={"examples": Port("any", summary="a folder with entities.tsv and triples.tsv")},
    outputs={"model": Port("knowledge")},
    resources=TRAINING,
    libraries=LIBRARIES,
)
def link(task: Task) -> None:
    """Write the model as a program: heads and relations to the score of every entity as the tail."""
    params = params_of(task, KnowledgeParams)
    from headwater.framework.training import fitting
    from headwater.framework.training.tasks.knowledge import Links

    make = partial(Links, task.input("examples"), dimensions=params.dimensions, read=params.read, seed=task.seed)
    model, told = fitting.fit(task, make, params)
    heads, relations, tails = told.held.unbind(1)
    folder = task.output("model")
    bounds = [{0: ("n", 1, 65536)}, {0: ("n", 1, 65536)}]
    fitting.write_program(folder, model, (heads[:3], relations[:3]), ((heads, relations), tails), bounds)
    names = {"entities": told.names, "relations": told.relations}
    (folder / "names.json").write_text(json.dumps(names, ensure_ascii=False) + "\n", encoding="utf-8")


@step(
    "framework.shrink",
    summary="Compress a trained model by several engines, measure each, and refuse what falls below the floor.",
    params=ShrinkParams,
    inputs={"model": Port("any", summary="what a training step made")},
    outputs={"model": Port("small", summary="the chosen form, and pareto.json with every candidate")},
    resources=Resources(cpus=1, memory_gib=3, wall_s=1800),
    libraries=(*LIBRARIES, "onnx", "onnxruntime"),
)
def shrink(task: Task) -> None:
    """Write the chosen candidate, and note all of them for the plot on the job's page."""
    params = params_of(task, ShrinkParams)
    from headwater.framework.compression.compress import Measure, compress
    from headwater.framework.compression.engine import Given
    from headwater.framework.program.frozen import load
    from headwater.framework.training.fitting import PROGRAM_FOLDER, read_held

    source = task.input("model")
    inputs, wanted = read_held(source)
    program = load(source / PROGRAM_FOLDER)

    def measure(ask: Any) -> Measure:
        right = ask(*inputs)[0].argmax(-1) == wanted
        return Measure(value=float(right.mean()), n=right.size)

    given = Given(program=program, calibration=[tuple(one[:CALIBRATED] for one in inputs)], seed=task.seed)
    told: dict[str, Any] = {"floor": params.floor, "engines": params.engines or None, "aim": params.aim, "rounds": params.rounds}
    found = compress(given, measure, folder=task.output("model"), **told)
    best = found.chosen
    task.measure(accuracy_before=found.before.value, accuracy=best.metric, smaller=found.before_bytes / best.size_bytes, faster=best.faster)
    task.note(chosen=f"{best.engine} {best.setting}", absent=found.absent, chart=_chart(found))


def _chart(found: Any) -> dict[str, Any]:
    """Return the candidates as points of a chart: megabytes against milliseconds, with what became of each."""
    fates = [(one, "chosen" if one.chosen else "refused" if one.why_not else "front" if one.on_front else "beaten") for one in found.points]
    points = [
        {"x": one.size_bytes / 1e6, "y": one.latency_ms, "label": f"{one.engine} {one.setting}, {one.metric:.4f}", "state": fate}
        for one, fate in fates
    ]
    return {"kind": "scatter", "x": "MB", "y": "ms", "points": points}


@step(
    "framework.hand_on",
    summary="Put a trained model into a form that others run, and hold it against the eager model.",
    params=FormParams,
    inputs={"model": Port("any", summary="what a training step made")},
    outputs={"model": Port("deployed")},
    resources=Resources(cpus=1, memory_gib=3, wall_s=1800),
    libraries=(*LIBRARIES, "onnx", "onnxscript", "onnxruntime"),
)
def hand_on(task: Task) -> None:
    """Write the model in the form, with its parity report."""
    params = params_of(task, FormParams)
    from headwater.framework.program.frozen import load
    from headwater.framework.runtimes.runtime import deploy
    from headwater.framework.training.fitting import PROGRAM_FOLDER
    from headwater.framework.training.tasks import language

    source = task.input("model")
    program = load(source / PROGRAM_FOLDER)
    if (source / "shape.json").is_file():
        program.model = language.load(source)
    form = deploy(program, params.to, task.output("model"), tolerance=params.tolerance)
    task.measure(largest_difference=form.largest_difference, cosine=form.cosine, same_largest=form.same_largest)


@step(
    "framework.write",
    summary="Have a decoder write text, within a JSON Schema or a grammar where one is given.",
    params=WriteParams,
    inputs={"model": Port("decoder")},
    outputs={"text": Port("text")},
    resources=Resources(cpus=1, memory_gib=2, wall_s=900),
    libraries=LIBRARIES,
)
def write(task: Task) -> None:
    """Write the prompt's continuation."""
    params = params_of(task, WriteParams)
    from headwater.framework.training import constrained
    from headwater.framework.training.tasks import language

    model = language.load(task.input("model"))
    rules = constrained.rules(schema=params.json_schema, grammar=params.grammar)
    told: dict[str, Any] = {"window": model.shape.window, "temperature": params.temperature, "seed": task.seed, "rules": rules}
    text = language.generate(model, params.prompt.encode(), params.length, **told)
    task.output("text").write_bytes(text)
    task.measure(bytes=len(text))
    task.note(text=text.decode(errors="replace")[:2000])
