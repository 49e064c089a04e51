"""Run datatrove on a corpus; this file is started by the interpreter of datatrove's own environment.

`run` is datatrove's own runner, as its users start it; `decide` writes what each filter says of each document alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LANGUAGE = "zho_Hani"  # datatrove's plain "zho" splits at spaces; this one is Chinese by jieba
STOP_WORDS = ["的", "是", "在", "和", "了", "有", "不", "the", "be", "to", "of", "and", "that", "have", "with"]
QUALITY = {"min_doc_words": 50, "max_doc_words": 100000, "min_avg_word_length": 1, "max_avg_word_length": 10, "stop_words": STOP_WORDS}


def filters() -> dict[str, Any]:
    """Return the filters by the names that the benchmark compares."""
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

    return {
        "gopher_repetition": GopherRepetitionFilter(language=LANGUAGE),
        "gopher_quality": GopherQualityFilter(language=LANGUAGE, **QUALITY),
    }


def run(corpus: Path, out: Path) -> None:
    """Clean the corpus: addresses, both Gopher filters, near duplicates."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig()
    first = [JsonlReader(str(corpus.parent), glob_pattern=corpus.name), PIIFormatter(), *filters().values(), JsonlWriter(str(out / "kept"))]
    signatures = [JsonlReader(str(out / "kept")), MinhashDedupSignature(str(out / "signatures"), config=config, language=LANGUAGE)]
    buckets = [MinhashDedupBuckets(str(out / "signatures"), str(out / "buckets"), config=config)]
    clusters = [MinhashDedupCluster(str(out / "buckets"), str(out / "removed"), config=config)]
    last = [JsonlReader(str(out / "kept")), MinhashDedupFilter(str(out / "removed")), JsonlWriter(str(out / "unique"))]
    for number, (pipeline, tasks) in enumerate([(first, 1), (signatures, 1), (buckets, config.num_buckets), (clusters, 1), (last, 1)]):
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=1, logging_dir=str(out / f"log{number}")).run()


def decide(corpus: Path, out: Path) -> None:
    """Write one JSON line a document: its id and, per filter, whether it stays."""
    from datatrove.data import Document
    from datatrove.pipeline.formatters import PIIFormatter

    form, judges = PIIFormatter(), filters()
    with corpus.open(encoding="utf-8") as lines, out.open("w", encoding="utf-8") as file:
        for line in lines:
            record = json.loads(line)
            document = Document(text=form.format(record["text"]), id=record["id"])
            said = {name: judge.filter(document) for name, judge in judges.items()}
            row = {name: [True, ""] if told is True else [False, told[1]] for name, told in said.items()}
            file.write(json.dumps({"id": record["id"], **row}) + "\n")


if __name__ == "__main__":
    {"run": run, "decide": decide}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
