"""Small models and fleets that the tests share."""

from __future__ import annotations

from headwater.framework.program.model_spec import ModelSpec, decoder


def small(*, layers: int = 12, hidden: int = 1024, ffn: int = 4096, heads: int = 16, kv_heads: int = 4, vocab: int = 32000) -> ModelSpec:
    """Return a decoder that fits anywhere."""
    return decoder(
        name="small", layers=layers, hidden=hidden, ffn=ffn, heads=heads, kv_heads=kv_heads, vocab=vocab, seq_len=2048, gated=True
    )
