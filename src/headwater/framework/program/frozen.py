"""Freeze a module into a `Program`: exported once by `torch.export`, and from then on the only form of its graph.

What everything downstream needs stands with it: the signature, which dimensions may change, and a report that compares the eager
module, the frozen graph and, where asked, the compiled graph on the example and on other inputs.
Import this module only inside a function: it imports torch.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headwater.core import digests
from headwater.core.errors import BadInput, Broken, GateClosed, Unavailable

SCHEMA = "headwater.program/1"
GRAPH_FILE, FACTS_FILE = "program.pt2", "program.json"
OTHERS = 3
"""Other inputs, made from the example, on which the forms are compared."""
SEED = 20260101
TORCH = str(Path(torch.__file__).parent)
DATA_DEPENDENT = ("data-dependent", "GuardOnDataDependent", "is_nonzero", "_local_scalar_dense")
Dynamic = Sequence[Mapping[int, tuple[str, int, int]]]
"""For each input, dimension to (name, least, most). Inputs that share a dimension share its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output: its number format and dimensions; one that may change is given by its name."""

    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How far a form's answers are from the eager module's: largest difference, least cosine, and answers whose largest entry agrees."""

    name: str
    largest_difference: float
    cosine: float
    same_largest: float


@dataclass(slots=True, kw_only=True)
class Program:
    """A frozen module. `model` is the eager module that it was made from, where that is at hand."""

    graph: torch.export.ExportedProgram
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    forms: tuple[Form, ...] = ()
    bounds: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    """Of each dimension that may change, by name: name, least, most."""
    model: nn.Module | None = None
    _module: nn.Module | None = None

    def module(self) -> nn.Module:
        """Return the graph as a module, made once."""
        if self._module is None:
            self._module = self.graph.module()
        return self._module

    @property
    def example(self) -> tuple[Tensor, ...]:
        """The inputs that it was made with."""
        given, _ = self.graph.example_inputs or ((), {})
        return tuple(given)

    def dynamic(self) -> Dynamic:
        """Return which dimensions may change and within which bounds, as `freeze` takes them."""
        return tuple({dim: self.bounds[name] for dim, name in enumerate(port.shape) if isinstance(name, str)} for port in self.inputs)

    def run(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the graph's answers. Raises BadInput where inputs do not fit its signature."""
        self.check(inputs)
        with torch.inference_mode():
            return answers(self.module()(*inputs))

    def check(self, inputs: Sequence[Tensor]) -> None:
        """Raise BadInput where inputs do not fit the signature."""
        if len(inputs) != len(self.inputs):
            raise BadInput(f"{len(inputs)} inputs were given, and the program takes {len(self.inputs)}.", "Give one tensor for each.")
        for place, (given, port) in enumerate(zip(inputs, self.inputs, strict=True)):
            fits = len(given.shape) == len(port.shape) and all(
                isinstance(wanted, str) or wanted == size for size, wanted in zip(given.shape, port.shape, strict=True)
            )
            if not fits or str(given.dtype) != port.dtype:
                what = f"Input {place} is {given.dtype} {list(given.shape)}, and the program takes {port.dtype} {list(port.shape)}."
                raise BadInput(what, "A name in the shape may be any size within its bounds.")

    def compiled(self) -> Callable[..., Any]:
        """Return the graph compiled by `torch.compile`; the first call compiles."""
        return torch.compile(self.module())

    def _bytes(self) -> bytes:
        """Return the graph's archive, made in memory: torch's writer ends the whole process where a disk is full."""
        archive = io.BytesIO()
        with quiet():
            torch.export.save(self.graph, archive)
        return archive.getvalue()

    def save(self, folder: Path) -> None:
        """Write the program into a new folder. Raises Unavailable where the disk refuses."""
        try:
            folder.mkdir(parents=True)
            (folder / GRAPH_FILE).write_bytes(self._bytes())
            facts = {
                "schema": SCHEMA,
                "torch": torch.__version__,
                "sha256": digests.of_file(folder / GRAPH_FILE),
                "inputs": [asdict(port) for port in self.inputs],
                "outputs": [asdict(port) for port in self.outputs],
                "forms": [asdict(form) for form in self.forms],
                "bounds": {name: list(bound) for name, bound in self.bounds.items()},
            }
            (folder / FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        except (OSError, RuntimeError) as error:
            raise Unavailable(f"The program cannot be written: {str(error)[:200]}.", "Free some space.", where=str(folder)) from error


def load(folder: Path) -> Program:
    """Return the program in a folder. Raises Broken where its bytes are not those that were written, BadInput where there is none."""
    try:
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        inputs, outputs = (tuple(_port(one) for one in facts[key]) for key in ("inputs", "outputs"))
        told, forms = str(facts["sha256"]), tuple(Form(**one) for one in facts["forms"])
        bounds = {name: (str(one[0]), int(one[1]), int(one[2])) for name, one in facts["bounds"].items()}
        found = digests.of_file(folder / GRAPH_FILE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"There is no program there: {error}.", "Give the folder that `Program.save` wrote.", where=str(folder)) from error
    if found != told:
        raise Broken("The program's bytes are not those that were written.", "Make it again.", where=str(folder / GRAPH_FILE))
    with quiet():
        graph = torch.export.load(folder / GRAPH_FILE)
    return Program(graph=graph, inputs=inputs, outputs=outputs, forms=forms, bounds=bounds)


def freeze(model: nn.Module, example: Sequence[Tensor], *, dynamic: Dynamic | None = None, compile: bool = False) -> Program:  # noqa: A002
    """Return the module as a program; its answers are compared with the eager module's, and with `compile` the compiled graph's too.

    Raises BadInput where the module cannot be exported, naming the line of its code, and where it answers with numbers that are none;
    GateClosed where a form's answers are not the eager module's.
    """
    model = model.eval()
    _refuse_inputs(tuple(example), dynamic)
    given = tuple(one.detach().contiguous() for one in example)  # strides of a view would fix the dimensions that they come from
    with torch.no_grad():
        wanted = answers(model(*given))
    if not all(bool(one.isfinite().all()) for one in wanted if one.is_floating_point()):
        raise BadInput("The module answers the example with numbers that are none.", "Look for a division by zero or untrained weights.")
    try:
        with quiet():
            graph = torch.export.export(model, given, dynamic_shapes=_dims(dynamic), strict=False)
    except Exception as error:  # torch raises many kinds, down to plain RuntimeError
        raise _refusal(error, model) from error
    bounds = {bound[0]: bound for one in dynamic or () for bound in one.values()}
    program = Program(graph=graph, inputs=_ports(given, dynamic), outputs=_ports(wanted, None), bounds=bounds, model=model)
    program.forms = compare(program, compile=compile)
    _refuse_difference(program)
    return program


def answers(told: Any) -> tuple[Tensor, ...]:
    """Return a module's answer as a tuple of tensors."""
    if isinstance(told, Tensor):
        return (told,)
    values = told.values() if isinstance(told, Mapping) else told
    return tuple(one for value in values for one in answers(value))


def compare(program: Program, *, compile: bool = False, inputs: Sequence[tuple[Tensor, ...]] | None = None) -> tuple[Form, ...]:  # noqa: A002
    """Return how far the frozen graph, and the compiled one, are from the eager module on the example and on other inputs."""
    assert program.model is not None, "only a program that was just frozen has its eager module"
    asked = inputs or (program.example, *others(program.example))
    with torch.no_grad():
        wanted = [answers(program.model(*one)) for one in asked]
        forms = [distance("frozen", [program.run(*one) for one in asked], wanted)]
        if compile:
            ask = program.compiled()
            forms.append(distance("compiled", [answers(ask(*one)) for one in asked], wanted))
    return tuple(forms)


def others(example: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """Return other inputs like the example: normal numbers of its spread; whole numbers in another order, so that none is new."""
    generator = torch.Generator().manual_seed(SEED)

    def other(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            spread = float(tensor.float().std()) if tensor.numel() > 1 else 1.0
            return (torch.randn(tensor.shape, generator=generator) * (spread or 1.0)).to(tensor.dtype)
        return tensor.flatten()[torch.randperm(tensor.numel(), generator=generator)].reshape(tensor.shape)

    return [tuple(other(tensor) for tensor in example) for _ in range(OTHERS)]


def distance(name: str, found: Sequence[Sequence[Tensor]], wanted: Sequence[Sequence[Tensor]]) -> Form:
    """Return how far answers are from those that are wanted, over all of them."""
    largest, cosine, same, rows = 0.0, 1.0, 0, 0
    for got, want in ((g, w) for fs, ws in zip(found, wanted, strict=True) for g, w in zip(fs, ws, strict=True)):
        a, b = got.detach().double(), want.detach().double()
        if a.shape != b.shape or not bool(a.isfinite().all()):
            return Form(name=name, largest_difference=float("inf"), cosine=0.0, same_largest=0.0)
        largest = max(largest, float((a - b).abs().max()) if a.numel() else 0.0)
        cosine = min(cosine, float(nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)) if bool(b.any()) else 1.0)
        flat_a, flat_b = (one.reshape(-1, one.shape[-1]) if one.ndim else one.reshape(1, 1) for one in (a, b))
        same, rows = same + int((flat_a.argmax(-1) == flat_b.argmax(-1)).sum()), rows + len(flat_a)
    return Form(name=name, largest_difference=largest, cosine=cosine, same_largest=same / max(rows, 1))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back the exporter's notes: on absent packages, on its deprecations, and the graph that it prints where it fails."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "torch._export")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)


TOLERANCE = 1e-4
"""Largest difference beside which two forms of one program in fp32 count as the same; rounding in other orders comes to a tenth."""


def _refuse_difference(program: Program) -> None:
    for form in program.forms:
        if form.largest_difference > TOLERANCE and form.cosine < 1 - TOLERANCE:
            what = f"The {form.name} form differs from the eager module by {form.largest_difference:.3g}, cosine {form.cosine:.6f}."
            raise GateClosed(what, "The module may depend on what torch.export does not see: a global, a random number, its mode.")


def _refuse_inputs(given: tuple[Any, ...], dynamic: Dynamic | None) -> None:
    strange = [type(one).__name__ for one in given if not isinstance(one, Tensor)]
    if not given or strange:
        told = f"an input is a {strange[0]}" if strange else "there is no example input"
        raise BadInput(f"A program takes tensors, and {told}.", "Give the tensors that the module takes; set the rest when it is made.")
    if dynamic is not None and len(dynamic) != len(given):
        raise BadInput(f"{len(dynamic)} inputs are described as dynamic, of {len(given)}.", "Give a mapping for each, empty where none.")


def _dims(dynamic: Dynamic | None) -> Any:
    if dynamic is None:
        return None
    known: dict[str, Any] = {}
    for name, least, most in (bound for one in dynamic for bound in one.values()):
        known.setdefault(name, torch.export.Dim(name, min=least, max=most))
    return tuple({dim: known[name] for dim, (name, _, _) in one.items()} for one in dynamic)


def _ports(tensors: Sequence[Tensor], dynamic: Dynamic | None) -> tuple[Port, ...]:
    named = dynamic or [{}] * len(tensors)
    shapes = [
        tuple(told[dim][0] if dim in told else int(size) for dim, size in enumerate(one.shape))
        for one, told in zip(tensors, named, strict=True)
    ]
    return tuple(Port(dtype=str(one.dtype), shape=shape) for one, shape in zip(tensors, shapes, strict=True))


def _port(told: Mapping[str, Any]) -> Port:
    return Port(dtype=str(told["dtype"]), shape=tuple(told["shape"]))


def _refusal(error: Exception, model: nn.Module) -> BadInput:
    """Return the error that names the user's own line, and what to do about it."""
    name, said = type(model).__name__, str(error).strip()
    where, line = _place(error, model)
    at = f" at '{line}'" if line else ""
    if any(sign in f"{type(error).__name__} {said}" for sign in DATA_DEPENDENT):
        hint = "Replace the branch by torch.where or torch.cond, or decide it before the module is called."
        return BadInput(f"{name} decides by the value of a tensor{at}, which a frozen graph cannot.", hint, where=where)
    first = (said.splitlines() or [type(error).__name__])[0][:200]
    if "onstraints violated" in said or "specialized" in said:
        hint = "Leave it static, or mend the line that needs its size."
        return BadInput(f"{name} fixes a dimension that was to be dynamic{at}: {first}", hint, where=where)
    return BadInput(f"{name} cannot be exported{at}: {first}", "Use only tensor operations of torch.", where=where)


def _place(error: Exception, model: nn.Module) -> tuple[str | None, str]:
    """Return file and line of the user's code at which the export stopped, or where its forward begins, and the line's words."""
    frames = [
        one for one in traceback.extract_tb(error.__traceback__) if not one.filename.startswith((TORCH, "<")) and one.filename != __file__
    ]
    if frames:
        last = frames[-1]
        return f"{last.filename}:{last.lineno}", (last.line or "").strip()[:100]
    code = getattr(type(model).forward, "__code__", None)
    return (f"{code.co_filename}:{code.co_firstlineno}", "") if code is not None else (None, "")
