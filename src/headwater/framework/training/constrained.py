"""Which byte may come next, by a JSON Schema or a grammar: xgrammar's automaton over the 256 bytes that a decoder writes.

Import it only inside a function: with rules it imports torch and xgrammar.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headwater.core.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from torch import Tensor

VOCABULARY = 256
END = 0
"""The byte that stands for the end: no text holds it."""


class Rules:
    """What may still come: ask for the mask, then say what was taken."""

    def __init__(self, matcher: Any, xgrammar: Any) -> None:
        self._matcher, self._xgrammar = matcher, xgrammar
        self._mask = xgrammar.allocate_token_bitmask(1, VOCABULARY)

    def allowed(self, logits: Tensor) -> Tensor:
        """Return logits with minus infinity for every byte that may not come next."""
        self._matcher.fill_next_token_bitmask(self._mask)
        masked = logits.clone().unsqueeze(0)
        self._xgrammar.apply_token_bitmask_inplace(masked, self._mask)
        return masked[0]

    def take(self, token: int) -> bool:
        """Take a byte, and tell whether the text is now at its end."""
        self._matcher.accept_token(token)
        return bool(self._matcher.is_terminated())


def rules(*, schema: Mapping[str, Any] | None, grammar: str | None) -> Rules | None:
    """Return the rules of a JSON Schema or a grammar, None where neither is given.

    Raises BadInput for both at once or one that cannot be read, Unavailable where xgrammar is not installed.
    """
    if schema is None and grammar is None:
        return None
    if schema is not None and grammar is not None:
        raise BadInput("Both a JSON Schema and a grammar are given.", "Give one.")
    try:
        import xgrammar
    except ImportError as error:
        raise Unavailable("xgrammar is not installed.", 'Install it: pip install "headwater[language]".') from error
    info = xgrammar.TokenizerInfo([bytes([byte]) for byte in range(VOCABULARY)], xgrammar.VocabType.RAW, stop_token_ids=[END])
    compiler = xgrammar.GrammarCompiler(info, max_threads=1)
    try:
        compiled = compiler.compile_json_schema(json.dumps(schema)) if schema is not None else compiler.compile_grammar(grammar or "")
    except RuntimeError as error:
        what = "JSON Schema" if schema is not None else "grammar"
        raise BadInput(f"The {what} cannot be read: {str(error).strip().splitlines()[-1][:200]}", "Mend it.") from error
    return Rules(xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True), xgrammar)
