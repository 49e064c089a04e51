"""The language of a text by script and function words: Chinese, English or other. No model weights.

A text is Chinese where Han letters make up a twentieth of its letters and few of the other East Asian scripts stand among them:
a page of code with Chinese prose is a Chinese page. Latin text is English where English function words are more frequent than
those of Spanish, Portuguese, French, German and Italian together. `docs/cleaning.md` states the measured error.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from headwater.data.cleaning import language_kernel
from headwater.data.cleaning.batch import Batch, Rule, Texts
from headwater.data.cleaning.characters import HAN, LATIN, LETTER, OTHER_LETTER, lower, table
from headwater.data.cleaning.stages import JUDGE, Order, Stage

Tongue = Literal["zh", "en", "other"]
TONGUES: tuple[Tongue, ...] = ("zh", "en", "other")
ZH, EN, OTHER = range(3)
LEAST_HAN, MOST_OTHER, LEAST_OTHER = 0.05, 0.25, 0.05
ENGLISH = "the of and to is that for with are this be as on not can it by from have an or which was will"
OTHERS = (
    "de que el la los las en un una por con para se del es como y o os as um uma com não da do dos das em le les des et est une pour "
    "dans qui sur au du ne pas der die und das den von zu mit ist dem nicht ein eine il di che è per sono della non si lo gli"
)


class Language(Stage):
    """Keep texts of certain languages, by script statistics."""

    name: ClassVar[str] = "language"
    order: ClassVar[Order] = JUDGE

    keep: tuple[Tongue, ...] = Field(("zh", "en"), min_length=1)

    def apply(self, batch: Batch) -> int:
        """Judge each document; the figure is the share of Han letters."""
        found, share = languages(batch)
        wanted = np.isin(found, [TONGUES.index(one) for one in self.keep])
        batch.remove(self.name, [Rule(one) for one in TONGUES], np.where(wanted, -1, found), share)
        return 0


def languages(batch: Batch) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return each document's language as a place in TONGUES, and the share of Han among its letters."""
    counts, _ = batch.counts()
    letters, han, latin, other = (counts[:, mask.bit_length() - 1] for mask in (LETTER, HAN, LATIN, OTHER_LETTER))
    share = han / np.maximum(letters, 1)
    foreign = (other > MOST_OTHER * (han + other)) & (other > LEAST_OTHER * np.maximum(letters, 1))
    hashes, groups = _function_words()
    met = np.zeros((len(batch), 2), dtype=np.int64)
    texts = batch.texts
    language_kernel.function_words(texts.points, texts.offsets, table(), lower(), hashes, groups, met)
    english = (met[:, 0] > met[:, 1]) & (latin > 0)
    found = np.where(foreign, OTHER, np.where((share >= LEAST_HAN) & (han > 0), ZH, np.where(english, EN, OTHER)))
    return found.astype(np.int64), share


@cache
def _function_words() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    groups = {language_kernel.word_hash(Texts.of([word]).points): group for group in (1, 0) for word in (ENGLISH, OTHERS)[group].split()}
    hashes = np.array(sorted(groups), dtype=np.uint64)
    return hashes, np.array([groups[one] for one in hashes], dtype=np.int64)
