"""Take personal data out of texts, by the privacy room's own recognisers."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from headwater.core.errors import HeadwaterError, Unavailable
from headwater.data.cleaning.batch import Batch, Texts
from headwater.data.cleaning.stages import EDIT, Order, Stage


class PersonalData(Stage):
    """Replace personal data: names, numbers and addresses of people, in Chinese and English."""

    name: ClassVar[str] = "personal_data"
    order: ClassVar[Order] = EDIT

    labels: tuple[str, ...] = Field((), description="Which kinds; all where left out.")
    action: Literal["redact", "mask"] = Field("redact", description="`redact` puts the label in its place, `mask` hides all but the form.")

    @field_validator("labels")
    @classmethod
    def _known(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if labels:
            try:
                _privacy().find("", frozenset(labels))
            except HeadwaterError as error:
                raise ValueError(str(error)) from error
        return labels

    def apply(self, batch: Batch) -> int:
        """Edit each text."""
        privacy = _privacy()
        labels = frozenset(self.labels) if self.labels else privacy.ALL
        strings = batch.fields.strings()
        touched = False
        for place, text in enumerate(strings):
            if spans := privacy.find(text, labels):
                strings[place] = privacy.act(text, spans, self.action)
                touched = True
        return batch.edit(Texts.of(strings)) if touched else 0


@cache
def _privacy() -> Any:
    """Return the area that finds personal data. Raises Unavailable where this installation is without it."""
    try:
        return import_module("headwater.data.privacy")
    except ImportError as error:
        raise Unavailable("This installation has no recognisers of personal data.", "Leave the stage 'personal_data' out.") from error
