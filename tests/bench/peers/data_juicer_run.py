"""Ask data-juicer's operators about a corpus; this file is started by the interpreter of data-juicer's own environment.

`decide` writes what each filter says of each document alone; the timed run is data-juicer's own command, `dj-process`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SHORTEST, LONGEST, LEAST_ALNUM, MOST_SPECIAL, NGRAM, MOST_REPEATED = 50, 2_000_000, 0.25, 0.6, 10, 0.5
PERMUTATIONS, THRESHOLD = 128, 0.7


def recipe(corpus: Path, out: Path) -> dict[str, Any]:
    """Return the recipe that `dj-process` runs."""
    return {
        "project_name": "bench",
        "dataset_path": str(corpus),
        "export_path": str(out / "kept.jsonl"),
        "np": 1,
        "use_cache": False,
        "open_tracer": False,
        "process": [
            {"whitespace_normalization_mapper": {}},
            {"clean_email_mapper": {}},
            {"clean_ip_mapper": {}},
            {"clean_links_mapper": {}},
            {"text_length_filter": {"min_len": SHORTEST, "max_len": LONGEST}},
            {"alphanumeric_filter": {"tokenization": False, "min_ratio": LEAST_ALNUM}},
            {"special_characters_filter": {"max_ratio": MOST_SPECIAL}},
            {"character_repetition_filter": {"rep_len": NGRAM, "max_ratio": MOST_REPEATED}},
            {"document_deduplicator": {"lowercase": False}},
            {
                "document_minhash_deduplicator": {
                    "tokenization": "character",
                    "window_size": 5,
                    "lowercase": True,
                    "num_permutations": PERMUTATIONS,
                    "jaccard_threshold": THRESHOLD,
                }
            },
        ],
    }


def decide(corpus: Path, out: Path) -> None:
    """Write one JSON line a document: its id, the digest of its cleaned text, and, per filter, whether it stays."""
    import hashlib

    from data_juicer.ops.filter.alphanumeric_filter import AlphanumericFilter
    from data_juicer.ops.filter.character_repetition_filter import CharacterRepetitionFilter
    from data_juicer.ops.filter.special_characters_filter import SpecialCharactersFilter
    from data_juicer.ops.filter.text_length_filter import TextLengthFilter
    from data_juicer.ops.mapper.clean_email_mapper import CleanEmailMapper
    from data_juicer.ops.mapper.clean_ip_mapper import CleanIpMapper
    from data_juicer.ops.mapper.clean_links_mapper import CleanLinksMapper
    from data_juicer.ops.mapper.whitespace_normalization_mapper import WhitespaceNormalizationMapper
    from data_juicer.utils.constant import Fields

    edits = [WhitespaceNormalizationMapper(), CleanEmailMapper(), CleanIpMapper(), CleanLinksMapper()]
    judges = {
        "length": TextLengthFilter(min_len=SHORTEST, max_len=LONGEST),
        "alphanumeric": AlphanumericFilter(tokenization=False, min_ratio=LEAST_ALNUM),
        "special_characters": SpecialCharactersFilter(max_ratio=MOST_SPECIAL),
        "character_repetition": CharacterRepetitionFilter(rep_len=NGRAM, max_ratio=MOST_REPEATED),
    }
    records = [json.loads(line) for line in corpus.open(encoding="utf-8")]
    samples: dict[str, Any] = {"text": [one["text"] for one in records], Fields.stats: [{} for _ in records]}
    for edit in edits:
        samples = edit.process_batched(samples)
    for judge in judges.values():
        samples = judge.compute_stats_batched(samples)
    said = {name: list(judge.process_batched(samples)) for name, judge in judges.items()}
    with out.open("w", encoding="utf-8") as file:
        for place, record in enumerate(records):
            digest = hashlib.blake2b(samples["text"][place].encode("utf-8", "replace"), digest_size=8).hexdigest()
            row = {name: [bool(kept[place]), ""] for name, kept in said.items()}
            file.write(json.dumps({"id": record["id"], "text": digest, **row}) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "recipe":
        Path(sys.argv[3]).joinpath("recipe.yaml").write_text(json.dumps(recipe(Path(sys.argv[2]), Path(sys.argv[3]))), encoding="utf-8")
    else:
        decide(Path(sys.argv[2]), Path(sys.argv[3]))
