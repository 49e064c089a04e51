"""Take personal data out of texts, by the privacy area's own recognisers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from headwater.data import privacy
from headwater.data.cleaning.batch import Batch, Texts
from headwater.data.cleaning.stages import EDIT, Phase, Stage


class PersonalData(Stage):
    """Replace personal data: names, numbers and addresses of people, in Chinese and English."""

    name: ClassVar[str] = "personal_data"
    phase: ClassVar[Phase] = EDIT

    labels: tuple[str, ...] = Field((), description="Which kinds; all where left out.")
    action: Literal["redact", "mask"] = Field("redact", description="`redact` puts the label in its place, `mask` hides all but the form.")

    @field_validator("labels")
    @classmethod
    def _known(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(labels) - privacy.ALL:
            raise ValueError(f"there is no label '{sorted(unknown)[0]}'; there are: {', '.join(sorted(privacy.ALL))}")
        return labels

    def apply(self, batch: Batch) -> int:
        """Edit each text."""
        labels = frozenset(self.labels) or privacy.ALL
        strings = batch.fields.strings()
        touched = False
        for place, text in enumerate(strings):
            if spans := privacy.find(text, labels):
                strings[place] = privacy.act(text, spans, self.action)
                touched = True
        return batch.edit(Texts.of(strings)) if touched else 0
