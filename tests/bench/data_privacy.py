"""Privacy of the data room: what the recognisers find and miss, how fast, and what the anonymity search costs.

Precision and recall count exact spans with their label. Throughput is UTF-8 bytes per second of CPU on one core,
the kernels compiled before. pycanon, an independent library, checks the anonymous table where it is installed:

    python3 dev.py clients
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from headwater.data.privacy import find
from headwater.data.privacy.anonymity.anonymise import Anonymous, anonymise
from headwater.data.privacy.anonymity.declaration import read_declaration
from headwater.data.privacy.documents import write_table
from headwater.data.privacy.recogniser import Label
from headwater.data.table import read_table
from tests.bench import _report
from tests.bench._report import Figure

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
PYCANON = REPOSITORY / "build" / "pycanon" / "bin" / "python"
DECLARATION = REPOSITORY / "tests" / "unit" / "data" / "privacy" / "adult.yaml"
CHECKSUMMED = (Label.CN_ID_CARD, Label.CN_USCC, Label.BANK_CARD)
JUDGED = (Label.PERSON, Label.ADDRESS)
REPEATS = 3
CHECK = """
import json, sys, pandas
from pycanon import anonymity
told = json.loads(sys.argv[1])
table = pandas.read_csv(told["file"], dtype=str, keep_default_na=False)
print(json.dumps({"k": int(anonymity.k_anonymity(table, told["quasi"])), "rows": len(table)}))
"""


def measure() -> Sequence[Figure]:
    """Return every figure; what lacks its data is left out, saying so."""
    return [*found(), *speed(), *lattice()]


def found() -> Iterator[Figure]:
    """Score the recognisers on labelled sentences, per label."""
    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    for line in (SHARED / "pii" / "pii.jsonl").read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        gold = {(span["start"], span["end"], span["label"]) for span in told["spans"]}
        ours = {(span.start, span.end, str(span.label)) for span in find(told["text"])}
        for counted, spans in ((right, gold & ours), (wrong, ours - gold), (missed, gold - ours)):
            counted.update(label for _, _, label in spans)
    for label in sorted({*right, *wrong, *missed}):
        precision, recall = right[label] / max(1, right[label] + wrong[label]), right[label] / max(1, right[label] + missed[label])
        bars = (0.99, 0.99) if label in CHECKSUMMED else (0.8, 0.75) if label in JUDGED else (None, None)
        note = f"{right[label]} right, {wrong[label]} wrong, {missed[label]} missed"
        yield Figure(name=f"{label} precision", value=precision, unit="", at_least=bars[0], note=note)
        yield Figure(name=f"{label} recall", value=recall, unit="", at_least=bars[1])


def speed() -> Iterator[Figure]:
    """Time the recognisers over the corpus's text."""
    texts = corpus()
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    find("compile: 张三 13800000000")
    taken = []
    for _ in range(REPEATS):
        began = time.process_time()
        spans = sum(len(find(text)) for text in texts)
        taken.append(time.process_time() - began)
    rate = size / statistics.median(taken) / 1e6
    yield Figure(name="throughput, one core", value=rate, unit="MB/s", at_least=20.0, note=f"{size / 1e6:.1f} MB, {spans} findings")


def corpus() -> list[str]:
    """Return the corpus's documents."""
    import pyarrow as pa

    raw = pa.input_stream(str(SHARED / "corpus" / "corpus.jsonl.zst"), compression="zstd").read()
    return [json.loads(line)["text"] for line in raw.splitlines()]


def lattice() -> Iterator[Figure]:
    """Time the whole way from a read table to its anonymous form and report, and have pycanon check the outcome."""
    declared = read_declaration(DECLARATION.read_bytes(), DECLARATION.name)
    table = read_table(SHARED / "trust" / "adult.csv")
    made = anonymise(table, declared)
    taken = []
    for _ in range(REPEATS):
        began = time.process_time()
        made = anonymise(table, declared)
        taken.append(time.process_time() - began)
    nodes, loss = made.report["lattice"]["nodes"], made.report["loss"]["value"]
    note = f"optimum of {nodes} nodes, loss {loss:.4f}, {made.report['suppressed_rows']} of {made.report['rows']} rows left out"
    yield Figure(name="Adult, k=10: anonymised", value=statistics.median(taken), unit="CPU-s", at_most=2.0, note=note)
    if PYCANON.exists():
        checked = check(made, list(declared.quasi_identifiers))
        yield Figure(name="Adult, k by pycanon", value=checked["k"], unit="", at_least=declared.k, note=f"{checked['rows']} rows")
    else:
        print(f"pycanon is not installed in {PYCANON.parents[1].relative_to(REPOSITORY)}: its check is left out")


def check(made: Anonymous, quasi: list[str]) -> dict[str, int]:
    """Return what pycanon finds in an anonymous table."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "released.csv"
        with file.open("wb") as target:
            write_table(target, made.names, made.records, parquet=False)
        told = json.dumps({"file": str(file), "quasi": quasi})
        done = subprocess.run([str(PYCANON), "-c", CHECK, told], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    _report.main("data_privacy", measure)
