"""Teach a smaller module of the user's what the model answers (Hinton, Vinyals and Dean 2015), on the inputs given to calibrate on."""

from __future__ import annotations

from pathlib import Path

from headwater.framework.compression.engine import Candidate, Engine, Given

ROUNDS = 300
TEMPERATURE = 2.0
LEARNING_RATE = 3e-3


def settings(given: Given) -> list[str]:
    """Return the names of the students, where there are inputs to teach on."""
    return list(given.students) if given.calibration else []


def make(given: Given, setting: str, folder: Path) -> Candidate:
    """Return the student after `ROUNDS` steps, in ONNX Runtime."""
    import torch
    from torch.nn import functional

    from headwater.framework.compression.engines.small import as_onnx

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.seed)
        student = given.students[setting]().train()
        inputs = [tuple(torch.from_numpy(array) for array in batch) for batch in given.calibration]
        taught = [given.program.run(*batch)[0].float() for batch in inputs]
        optimizer = torch.optim.AdamW(student.parameters(), lr=LEARNING_RATE)
        for number in range(ROUNDS):
            place = number % len(inputs)
            logits, wanted = student(*inputs[place]).float() / TEMPERATURE, (taught[place] / TEMPERATURE).softmax(-1)
            loss = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), wanted.reshape(-1, wanted.shape[-1]))
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        if given.tune is not None:
            given.tune(student)
    return as_onnx(student, given, folder, {"rounds": ROUNDS, "temperature": TEMPERATURE, "student": setting})


ENGINE = Engine(name="distillation", settings=settings, make=make)
