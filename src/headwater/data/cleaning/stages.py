"""The stages of a recipe for text: first those that edit, then those that judge, then those that compare documents.

Each is a pydantic model whose fields are what a recipe may say of it. An edit changes texts; a judge takes documents out, each with
the rule that it breaks, its figure and the limit. Duplicates are only declared here: `duplicates` finds them over the whole input.
"""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from headwater.core.yaml_file import Part
from headwater.data.cleaning import addresses_kernel, edits_kernel, gopher_kernel, repetition_kernel
from headwater.data.cleaning.batch import Batch, Rule, Texts
from headwater.data.cleaning.characters import CONTROL, DIGIT, LETTER, SPECIAL, table
from headwater.data.cleaning.words import Tokeniser


class Order(IntEnum):
    """A recipe's three parts, in order."""

    EDIT = 0
    JUDGE = 1
    COMPARE = 2


EDIT, JUDGE, COMPARE = Order


class Stage(Part):
    """Base of all stages."""

    name: ClassVar[str]
    order: ClassVar[Order]

    def apply(self, batch: Batch) -> int:
        """Edit or judge a batch; return how many documents an edit changed."""
        raise NotImplementedError(f"{type(self).__name__} is not applied batch by batch")


class Judge(Stage):
    """Base of stages that look at one figure per document."""

    order: ClassVar[Order] = JUDGE
    rules: ClassVar[tuple[str, str]] = ("low", "high")

    def figures(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Return the figure of each document."""
        raise NotImplementedError

    def bounds(self) -> tuple[float, float]:
        """Return what a figure must lie within."""
        raise NotImplementedError

    def apply(self, batch: Batch) -> int:
        """Remove the documents whose figure lies outside its bounds."""
        figures, (least, most) = self.figures(batch), self.bounds()
        broken = np.where(figures < least, 0, np.where(figures > most, 1, -1))
        batch.remove(self.name, [Rule(self.rules[0], least=least), Rule(self.rules[1], most=most)], broken, figures)
        return 0


class Normalise(Stage):
    """Trim; plain spaces for all others; no control characters; one Unicode form; line ends."""

    name: ClassVar[str] = "normalise"
    order: ClassVar[Order] = EDIT

    unicode: Literal["keep", "NFC", "NFKC"] = Field("NFC", description="Unicode normal form; NFKC also makes full-width letters plain.")
    lines: Literal["keep", "newline", "paragraphs"] = Field(
        "newline",
        description="`newline` makes every line end a newline; `paragraphs` also leaves at most one empty line between two lines.",
    )
    collapse_spaces: bool = Field(False, description="Make each run of spaces one.")

    def apply(self, batch: Batch) -> int:
        """Edit each text."""
        fields = self._spaced(batch.fields)
        if self.unicode != "keep":
            strings = fields.strings()
            odd = [place for place, text in enumerate(strings) if not text.isascii() and not unicodedata.is_normalized(self.unicode, text)]
            for place in odd:
                strings[place] = unicodedata.normalize(self.unicode, strings[place])
            fields = Texts.of(strings) if odd else fields
            if odd and self.unicode == "NFKC":  # which makes plain spaces of some marks
                fields = self._spaced(fields)
        return batch.edit(fields)

    def _spaced(self, texts: Texts) -> Texts:
        lines = ("keep", "newline", "paragraphs").index(self.lines)
        return Texts(*edits_kernel.normalise(texts.points, texts.offsets, table(), lines=lines, collapse=self.collapse_spaces))


class Remove(Stage):
    """Take e-mail addresses, IP addresses and links out of the text."""

    name: ClassVar[str] = "remove"
    order: ClassVar[Order] = EDIT

    emails: bool = True
    ips: bool = True
    links: Literal["no", "strict", "loose"] = Field(
        "strict",
        description="`strict` takes scheme://…, www.… and host.tld/…, up to what is not ASCII; "
        "`loose` also takes `word:x…`, and goes on to the next space: Chinese text that touches a link goes with it.",
    )

    def apply(self, batch: Batch) -> int:
        """Edit each text: addresses first, because a link would swallow them."""
        fields = batch.fields
        if self.emails:
            fields = _without(fields, addresses_kernel.mark_emails)
        if self.ips:
            fields = _without(fields, addresses_kernel.mark_ips)
        if self.links != "no":
            loose = self.links == "loose"
            fields = _without(fields, lambda points, offsets, marks: addresses_kernel.mark_links(points, offsets, marks, loose=loose))
        return batch.edit(fields) if fields is not batch.fields else 0


def _without(texts: Texts, mark: object) -> Texts:
    marks = np.zeros(len(texts.points), dtype=np.uint8)
    if not mark(texts.points, texts.offsets, marks):  # type: ignore[operator]
        return texts
    return Texts(*edits_kernel.drop_marked(texts.points, texts.offsets, marks))


class Formulas(Stage):
    """Put an apostrophe before cells that a spreadsheet would run: =, +, - and @, but not numbers."""

    name: ClassVar[str] = "formulas"
    order: ClassVar[Order] = EDIT

    def apply(self, batch: Batch) -> int:
        """Edit each cell."""
        texts = batch.fields
        filled = np.flatnonzero(texts.lengths() > 0)
        suspect = filled[np.isin(texts.points[texts.offsets[filled]], [ord(one) for one in "=+-@\t\r"])]
        if not len(suspect):
            return 0
        strings = texts.strings()
        for place in suspect.tolist():
            if not NUMBER.fullmatch(strings[place]):
                strings[place] = "'" + strings[place]
        return batch.edit(Texts.of(strings))


NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)*(?:[eE][+-]?[0-9]+)?%?")


class Length(Judge):
    """Keep texts of a certain length, in characters."""

    name: ClassVar[str] = "length"
    rules: ClassVar[tuple[str, str]] = ("short", "long")

    least: int = Field(50, ge=0)
    most: int = Field(2_000_000, ge=1)

    def figures(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Return the lengths."""
        return batch.texts.lengths().astype(np.float64)

    def bounds(self) -> tuple[float, float]:
        """Return the bounds."""
        return self.least, self.most


class Share(Judge):
    """Base of judges of a share of the characters."""

    mask: ClassVar[int]
    """Which characters count: a bit of `characters`."""

    least: float = Field(0.0, ge=0, le=1)
    most: float = Field(1.0, ge=0, le=1)

    def bounds(self) -> tuple[float, float]:
        """Return the bounds."""
        return self.least, self.most

    def figures(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Return the shares; 0 for an empty text."""
        counts, _ = batch.counts()
        return counts[:, self.mask.bit_length() - 1] / np.maximum(batch.texts.lengths(), 1)


class Alphanumeric(Share):
    """Keep texts with enough letters and digits, Han letters among them."""

    name: ClassVar[str] = "alphanumeric"

    least: float = Field(0.25, ge=0, le=1)

    def figures(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Return the shares; 0 for an empty text."""
        _, alnum = batch.counts()
        return alnum / np.maximum(batch.texts.lengths(), 1)


class SpecialCharacters(Share):
    """Keep texts without too many punctuation marks, symbols, spaces and numbers."""

    name: ClassVar[str] = "special_characters"
    mask: ClassVar[int] = SPECIAL

    most: float = Field(0.6, ge=0, le=1)


class Digits(Share):
    """Keep texts without too many digits: tables and logs."""

    name: ClassVar[str] = "digits"
    mask: ClassVar[int] = DIGIT

    most: float = Field(0.3, ge=0, le=1)


class ControlCharacters(Share):
    """Keep texts without control characters and unassigned code points: broken decoding. Without `normalise`, which drops them."""

    name: ClassVar[str] = "control_characters"
    mask: ClassVar[int] = CONTROL

    most: float = Field(0.0, ge=0, le=1)


class Letters(Share):
    """Keep texts with enough letters."""

    name: ClassVar[str] = "letters"
    mask: ClassVar[int] = LETTER

    least: float = Field(0.2, ge=0, le=1)


class CharacterRepetition(Judge):
    """Keep texts of which the most frequent character n-grams make up little."""

    name: ClassVar[str] = "character_repetition"

    n: int = Field(10, ge=1, le=64)
    most: float = Field(0.5, ge=0, le=1)

    def figures(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Return the ratios."""
        ratios = np.zeros(len(batch))
        repetition_kernel.character_repetition(batch.texts.points, batch.texts.offsets, self.n, ratios)
        return ratios

    def bounds(self) -> tuple[float, float]:
        """Return the bounds."""
        return 0.0, self.most


class GopherRepetition(Stage):
    """The repetition rules of Gopher (Rae et al. 2021, table A1)."""

    name: ClassVar[str] = "gopher_repetition"
    order: ClassVar[Order] = JUDGE
    rules: ClassVar[tuple[str, ...]] = (
        *("paragraphs", "paragraph_characters", "lines", "line_characters", "top_2_gram", "top_3_gram", "top_4_gram"),
        *(f"repeated_{n}_grams" for n in range(5, 11)),
    )

    tokeniser: Tokeniser = "jieba"
    paragraphs: float = Field(0.3, ge=0, le=1)
    paragraph_characters: float = Field(0.2, ge=0, le=1)
    lines: float = Field(0.3, ge=0, le=1)
    line_characters: float = Field(0.2, ge=0, le=1)
    top_grams: tuple[float, float, float] = Field((0.2, 0.18, 0.16), description="Of 2, 3 and 4 words.")
    repeated_grams: tuple[float, float, float, float, float, float] = Field(
        (0.15, 0.14, 0.13, 0.12, 0.11, 0.10), description="Of 5 to 10 words."
    )

    def apply(self, batch: Batch) -> int:
        """Judge each document."""
        texts, words = batch.texts, batch.words(self.tokeniser)
        limits = (self.paragraphs, self.paragraph_characters, self.lines, self.line_characters, *self.top_grams, *self.repeated_grams)
        broken, figures = np.zeros(len(batch), dtype=np.int64), np.zeros(len(batch))
        gopher_kernel.gopher_repetition(
            texts.points, texts.offsets, table(), words.starts, words.lengths, words.ends, np.array(limits), broken, figures
        )
        batch.remove(self.name, [Rule(name, most=limit) for name, limit in zip(self.rules, limits, strict=True)], broken, figures)
        return 0


class GopherQuality(Stage):
    """The quality rules of Gopher (Rae et al. 2021, section A1.1), with stop words of Chinese and English."""

    name: ClassVar[str] = "gopher_quality"
    order: ClassVar[Order] = JUDGE
    rules: ClassVar[tuple[str, ...]] = (
        *("words", "word_length", "hashes", "ellipses", "bullet_lines", "ellipsis_lines", "words_with_letters", "stop_words"),
    )

    tokeniser: Tokeniser = "jieba"
    least_words: int = Field(50, ge=0)
    most_words: int = Field(100_000, ge=1)
    least_word_length: float = Field(1.0, ge=0)
    most_word_length: float = Field(10.0, gt=0)
    most_symbols_per_word: float = Field(0.1, ge=0, description="Of # and, apart, of ellipses.")
    most_bullet_lines: float = Field(0.9, ge=0, le=1)
    most_ellipsis_lines: float = Field(0.3, ge=0, le=1)
    least_words_with_letters: float = Field(0.8, ge=0, le=1)
    least_stop_words: int = Field(2, ge=0)
    stop_words: tuple[str, ...] = ("的", "是", "在", "和", "了", "有", "不", "the", "be", "to", "of", "and", "that", "have", "with")

    def apply(self, batch: Batch) -> int:
        """Judge each document."""
        texts, words = batch.texts, batch.words(self.tokeniser)
        symbols = self.most_symbols_per_word
        infinite = float("inf")
        least = (self.least_words, self.least_word_length, 0, 0, 0, 0, self.least_words_with_letters, self.least_stop_words)
        most = (
            *(self.most_words, self.most_word_length, symbols, symbols),
            *(self.most_bullet_lines, self.most_ellipsis_lines, infinite, infinite),
        )
        broken, figures = np.zeros(len(batch), dtype=np.int64), np.zeros(len(batch))
        gopher_kernel.gopher_quality(
            *(texts.points, texts.offsets, table(), words.starts, words.lengths, words.ends),
            *(_hashes(self.stop_words), np.array(least, dtype=np.float64), np.array(most, dtype=np.float64), broken, figures),
        )
        batch.remove(self.name, [Rule(*one) for one in zip(self.rules, least, most, strict=True)], broken, figures)
        return 0


def _hashes(words: tuple[str, ...]) -> npt.NDArray[np.uint64]:
    texts = Texts.of(words)
    hashes = np.zeros(len(words), dtype=np.uint64)
    gopher_kernel.word_hashes(texts.points, texts.offsets[:-1], texts.lengths(), hashes)
    return hashes


class Required(Stage):
    """Keep documents whose text fields are filled."""

    name: ClassVar[str] = "required"
    order: ClassVar[Order] = JUDGE

    least: int = Field(1, ge=1, description="The fewest characters of a filled field.")
    most_empty: float = Field(0.0, ge=0, lt=1, description="The largest share of fields that may be empty.")

    def apply(self, batch: Batch) -> int:
        """Judge each document."""
        empty = (batch.fields.lengths().reshape(-1, batch.width) < self.least).mean(axis=1)
        batch.remove(self.name, [Rule("empty_fields", most=self.most_empty)], np.where(empty > self.most_empty, 0, -1), empty)
        return 0


class DistinctFields(Stage):
    """Keep documents whose first and last text field differ: an answer that only repeats its question teaches nothing."""

    name: ClassVar[str] = "distinct_fields"
    order: ClassVar[Order] = JUDGE

    def apply(self, batch: Batch) -> int:
        """Judge each document."""
        strings = batch.fields.strings()
        rows = range(0, len(strings), batch.width)
        same = [strings[row].strip() == strings[row + batch.width - 1].strip() and batch.width > 1 for row in rows]
        broken = np.where(np.array(same, dtype=bool), 0, -1)
        batch.remove(self.name, [Rule("same")], broken, np.ones(len(batch)))
        return 0


class ExactDuplicates(Stage):
    """Keep one of the documents with the same text: the one whose record has the lowest digest, whatever the order."""

    name: ClassVar[str] = "exact_duplicates"
    order: ClassVar[Order] = COMPARE


class NearDuplicates(Stage):
    """Keep no two documents whose texts are as similar as this, by the exact Jaccard index of their sets of 5 characters.

    Going from the preferred to the least preferred document, one is removed if it is that similar to one that stays. Preferred is
    the longest (or shortest), then the one whose record has the lowest digest: a rule that does not depend on the order.
    """

    name: ClassVar[str] = "near_duplicates"
    order: ClassVar[Order] = COMPARE

    jaccard: float = Field(0.7, gt=0, le=1)
    prefer: Literal["longest", "shortest"] = "longest"
    bands: int = Field(32, ge=1, le=256, description="Bands of MinHash that propose pairs.")
    rows: int = Field(4, ge=1, le=16, description="Values in a band; a pair at J is missed with chance (1 - J^rows)^bands.")

    @model_validator(mode="after")
    def _finds(self) -> NearDuplicates:
        missed = (1 - self.jaccard**self.rows) ** self.bands
        if missed > 0.001:
            raise ValueError(
                f"{self.bands} bands of {self.rows} rows miss {missed:.2%} of the pairs at {self.jaccard:g}; take more bands or fewer rows"
            )
        return self
