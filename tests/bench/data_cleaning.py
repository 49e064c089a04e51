"""Cleaning beside data-juicer and datatrove on the same work; near duplicates against the truth; scaling; memory.

`--peers` first installs the two peers into environments of their own under build/peers. A peer that is not there is left out, and
said so. A ratio counts only where each of our filters decides as the peer's does on 99.5 % of the documents: else it is given as 0.
CPU seconds are those of fresh processes, all their children included.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from headwater.core.errors import Unavailable
from headwater.data.cleaning import duplicates, language, recipe
from headwater.data.cleaning.batch import Batch, Texts
from headwater.data.cleaning.duplicates import Buckets
from headwater.data.cleaning.parts import bands_of
from headwater.data.cleaning.recipe import Recipe
from headwater.data.cleaning.stages import NearDuplicates
from tests.bench import _report
from tests.bench._report import Figure

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "corpus"
PEERS = ROOT / "build" / "peers"
KEPT = ROOT / "build" / "bench"
AGREE = 0.995
RUNS = 3
COPIES, MANY_COPIES = 4, 16
BRUTE = 3000

INSTALL = {
    "data_juicer": ("py-data-juicer==1.6.1", "aiohttp", "torch==2.13.0"),
    "datatrove": ("datatrove[io,processing]==0.10.1", "orjson", "spacy", "jieba"),
}
RECIPES = {
    "data_juicer": """\
schema: headwater.cleaning/1
name: like-data-juicer
stages:
  - normalise: {unicode: keep, lines: keep}
  - remove: {emails: true, ips: true, links: loose}
  - length: {least: 50, most: 2000000}
  - alphanumeric: {least: 0.25}
  - special_characters: {most: 0.6}
  - character_repetition: {n: 10, most: 0.5}
  - exact_duplicates
  - near_duplicates: {jaccard: 0.7}
""",
    "datatrove": """\
schema: headwater.cleaning/1
name: like-datatrove
stages:
  - remove: {emails: true, ips: true, links: "no"}
  - gopher_repetition
  - gopher_quality
  - near_duplicates: {jaccard: 0.7}
""",
}


def measure() -> Sequence[Figure]:
    """Return every figure."""
    if not SHARED.exists():
        raise Unavailable(f"The corpus is not at {SHARED}.", "It is test data and does not come with Headwater.")
    KEPT.mkdir(parents=True, exist_ok=True)
    corpus = unpacked()
    records = [json.loads(line) for line in corpus.open(encoding="utf-8")]
    warm(corpus)
    figures = [*truth(records), *brute_force(records), *tongues(records)]
    for peer in RECIPES:
        figures += beside(peer, corpus, records)
    return [*figures, *scaling(records), *bounded(records)]


def unpacked() -> Path:
    """Return the corpus as plain JSON lines, which all tools read alike."""
    import pyarrow as pa

    path = KEPT / "corpus.jsonl"
    if not path.exists():
        with pa.CompressedInputStream(pa.OSFile(str(SHARED / "corpus.jsonl.zst")), "zstd") as stream:
            path.write_bytes(stream.read())
    return path


def install() -> None:
    """Make the peers' environments."""
    for peer, packages in INSTALL.items():
        python = PEERS / peer / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(PEERS / peer)], check=True)
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)


def spent(command: Sequence[str], **environment: str) -> tuple[float, float, float]:
    """Run a command; return its CPU seconds, wall seconds, and the most memory that it and its children held, in MiB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    running = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    most = [0.0]
    watcher = threading.Thread(target=watch, args=(running, most), daemon=True)
    watcher.start()
    _, error = running.communicate()
    took = time.perf_counter() - began
    watcher.join()
    if running.returncode:
        raise RuntimeError(f"{command[0]} ended with {running.returncode}: {error.decode(errors='replace')[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took, most[0]


def watch(running: subprocess.Popen[bytes], most: list[float]) -> None:
    """Note the most memory that a process and its children hold together, shared pages counted once."""
    while running.poll() is None:
        try:
            root = psutil.Process(running.pid)
            held = sum(getattr(one.memory_full_info(), "pss", 0) for one in (root, *root.children(recursive=True)))
            most[0] = max(most[0], held / 2**20)
        except psutil.Error:
            pass
        time.sleep(0.1)


def ours(file: Path, written: str, *, workers: int = 1) -> tuple[float, float, float]:
    """Clean a file as a user does; return CPU seconds, wall seconds, MiB."""
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        (Path(folder) / "recipe.yaml").write_text(written, encoding="utf-8")
        arguments = ["--out", f"{folder}/out", "--recipe", f"{folder}/recipe.yaml", "--workers", str(workers)]
        return spent([sys.executable, "-m", "headwater", "data", "clean", str(file), *arguments])


def warm(corpus: Path) -> None:
    """Compile the kernels, which happens once on a machine."""
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "few.jsonl"
        with corpus.open("rb") as lines:
            few.write_bytes(b"".join(next(lines) for _ in range(200)))
        for written in RECIPES.values():
            ours(few, written)


def beside(peer: str, corpus: Path, records: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    """Time ours and the peer on the same work, and compare every filter's decisions."""
    megabytes = sum(len(one["text"].encode()) for one in records) / 1e6
    runs = [ours(corpus, RECIPES[peer]) for _ in range(RUNS)]
    cpu = statistics.median(one[0] for one in runs)
    yield Figure(name=f"ours, as {peer}", value=megabytes / cpu, unit="MB/CPU-s", note=f"{cpu:.1f} CPU-s, median of {RUNS}")
    yield Figure(name=f"ours, as {peer}, most memory", value=max(one[2] for one in runs), unit="MiB", at_most=512)
    if not (PEERS / peer / "bin" / "python").exists():
        print(f"{peer} is not installed: run with --peers", flush=True)
        return
    least = 1.0
    for name, share in agreement(peer, corpus, records).items():
        least = min(least, share)
        yield Figure(name=f"{peer}, same decisions, {name}", value=share, unit="share", at_least=AGREE)
    cpu_of_peer, _, memory = timed_peer(peer, corpus)
    yield Figure(name=peer, value=megabytes / cpu_of_peer, unit="MB/CPU-s", note=f"{cpu_of_peer:.1f} CPU-s, {memory:.0f} MiB")
    ratio = cpu_of_peer / cpu if least >= AGREE else 0.0
    yield Figure(name=f"times {peer}", value=ratio, unit="x", at_least={"data_juicer": 20.0, "datatrove": 10.0}[peer])


def timed_peer(peer: str, corpus: Path) -> tuple[float, float, float]:
    """Run the peer as its users do; return CPU seconds, wall seconds, MiB."""
    folder = PEERS / peer / "bin"
    script = str(ROOT / "tests" / "bench" / "peers" / f"{peer}_run.py")
    with tempfile.TemporaryDirectory(dir=KEPT) as out:
        if peer == "datatrove":
            return spent([str(folder / "python"), script, "run", str(corpus), out])
        subprocess.run([str(folder / "python"), script, "recipe", str(corpus), out], check=True)
        return spent([str(folder / "dj-process"), "--config", f"{out}/recipe.yaml"], HF_HUB_OFFLINE="1", DATA_JUICER_CACHE_HOME=out)


def agreement(peer: str, corpus: Path, records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return, per filter, the share of documents on which both decide alike, each filter asked of every document."""
    own = recipe.read(RECIPES[peer], "bench")
    assert isinstance(own, Recipe)
    said = decisions(peer, corpus)
    whole = Batch(fields=Texts.of([one["text"] for one in records]), width=1, places=np.arange(len(records)))
    for edit in own.edits:
        edit.apply(whole)
    shares = {}
    for judge in own.judges:
        batch = Batch(fields=whole.fields, width=1, places=np.arange(len(records)))
        judge.apply(batch)
        same = [(place not in batch.removed) == said[one["id"]][judge.name][0] for place, one in enumerate(records)]
        shares[judge.name] = sum(same) / len(same)
    if peer == "data_juicer":
        texts = (hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest() for text in whole.fields.strings())
        shares["text after the edits"] = sum(text == said[one["id"]]["text"] for text, one in zip(texts, records, strict=True)) / len(
            records
        )
    return shares


def decisions(peer: str, corpus: Path) -> dict[str, Any]:
    """Return what the peer's filters say of each document; asked once and kept, because it is the same every time."""
    kept = KEPT / f"{peer}.decisions.jsonl"
    if not kept.exists():
        script = str(ROOT / "tests" / "bench" / "peers" / f"{peer}_run.py")
        part = kept.with_suffix(".part")
        subprocess.run([str(PEERS / peer / "bin" / "python"), script, "decide", str(corpus), str(part)], check=True)
        part.replace(kept)
    with kept.open(encoding="utf-8") as lines:
        return {row["id"]: row for row in map(json.loads, lines)}


def truth(records: Sequence[dict[str, Any]]) -> list[Figure]:
    """Compare the near-duplicate pairs of the raw corpus with the corpus's own list."""
    stage = NearDuplicates(jaccard=0.7)
    found = set(near_pairs([one["text"] for one in records], [one["id"] for one in records], stage))
    expected = set()
    with (SHARED / "near_dup_pairs.tsv").open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            one, other, similarity = line.split("\t")
            if float(similarity) >= stage.jaccard:
                expected.add((min(one, other), max(one, other)))
    right = len(found & expected)
    return [
        Figure(
            name="near duplicates, recall at 0.7", value=right / len(expected), unit="share", at_least=0.999, note=f"{len(expected)} pairs"
        ),
        Figure(name="near duplicates, precision at 0.7", value=right / len(found), unit="share", at_least=1.0),
    ]


def near_pairs(texts: Sequence[str], names: Sequence[str], stage: NearDuplicates) -> Iterator[tuple[str, str]]:
    """Give the pairs that our engine finds, by name."""
    keys = np.concatenate([bands_of(Texts.of(texts[at : at + 2000]), stage) for at in range(0, len(texts), 2000)])
    buckets = Buckets((keys[:, band].copy() for band in range(stage.bands)), np.arange(len(texts)), np.ones(len(texts), dtype=bool))
    for pair in duplicates.pairs(stage, buckets, lambda record: texts[record].encode()):
        one, other = names[pair.first], names[pair.second]
        yield min(one, other), max(one, other)


def brute_force(records: Sequence[dict[str, Any]]) -> list[Figure]:
    """Compare with every pair of a sample, by sets of strings and a product of sparse matrices: another way altogether."""
    from scipy.sparse import csr_matrix

    chosen = sorted(records, key=lambda one: hashlib.sha256(one["id"].encode()).digest())[:BRUTE]
    place: dict[str, int] = {}
    rows, columns = [], []
    for row, one in enumerate(chosen):
        text = one["text"].lower()
        shingles = {text[at : at + 5] for at in range(len(text) - 4)}
        rows += [row] * len(shingles)
        columns += [place.setdefault(shingle, len(place)) for shingle in shingles]
    incidence = csr_matrix((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=(len(chosen), len(place)))
    shared = (incidence @ incidence.T).tocoo()
    sizes = np.asarray(incidence.sum(axis=1)).ravel()
    alike = shared.data / (sizes[shared.row] + sizes[shared.col] - shared.data) >= 0.7
    names = [one["id"] for one in chosen]
    pairs = zip(shared.row[alike].tolist(), shared.col[alike].tolist(), strict=True)
    expected = {(min(names[a], names[b]), max(names[a], names[b])) for a, b in pairs if a != b}
    found = set(near_pairs([one["text"] for one in chosen], names, NearDuplicates(jaccard=0.7)))
    note = f"{len(expected)} pairs among {len(chosen)} documents"
    same = len(found & expected) / max(len(found | expected), 1)
    return [Figure(name="near duplicates, same as brute force", value=same, unit="share", at_least=0.999, note=note)]


def tongues(records: Sequence[dict[str, Any]]) -> list[Figure]:
    """Measure the language stage where a path says the language: the translations of tensorflow/docs-l10n."""
    known = {"/zh-cn/": "zh", "/zh-tw/": "zh", "/en-snapshot/": "en", "/ja/": "other", "/ko/": "other", "/pt-br/": "other"}
    known |= {"/es-419/": "other", "/es/": "other", "/fr/": "other", "/pt/": "other", "/ru/": "other"}
    labelled = [(one, tongue) for one in records for part, tongue in known.items() if part in f"/{one['path']}"]
    batch = Batch(fields=Texts.of([one["text"] for one, _ in labelled]), width=1, places=np.arange(len(labelled)))
    found, _ = language.languages(batch)
    right = sum(language.TONGUES[place] == tongue for place, (_, tongue) in zip(found.tolist(), labelled, strict=True))
    return [
        Figure(name="language, right", value=right / len(labelled), unit="share", note=f"{len(labelled)} documents with a known language")
    ]


def copied(records: Sequence[dict[str, Any]], copies: int, file: Path) -> None:
    """Write several copies of the corpus; letters are shifted from copy to copy, so that no copy is a duplicate of another."""
    with file.open("w", encoding="utf-8") as lines:
        for copy in range(copies):
            shift = {code: 0x4E00 + (code - 0x4E00 + 997 * copy) % 0x5000 for code in range(0x4E00, 0x9E00)}
            shift |= {code: 97 + (code - 97 + copy) % 26 for code in range(97, 123)}
            for one in records:
                row = {"id": f"{one['id']}-{copy}", "text": one["text"].translate(shift) if copy else one["text"]}
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def scaling(records: Sequence[dict[str, Any]]) -> list[Figure]:
    """Time one worker and two, whole commands: on a corpus where starting up weighs, and on one where it does not."""
    return [scaled(records, COPIES, None), scaled(records, MANY_COPIES, 1.7)]


def scaled(records: Sequence[dict[str, Any]], copies: int, bar: float | None) -> Figure:
    """Time one worker and two on copies of the corpus."""
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        file = Path(folder) / "copies.jsonl"
        copied(records, copies, file)
        size = file.stat().st_size / 1e6
        walls = {workers: ours(file, RECIPES["datatrove"], workers=workers)[1] for workers in (1, 2)}
    note = f"{walls[1]:.1f} s and {walls[2]:.1f} s"
    return Figure(name=f"two workers over one, {size:.0f} MB", value=walls[1] / walls[2], unit="x", at_least=bar, note=note)


LIMIT_MIB = 320
LEAN = {"OPENBLAS_NUM_THREADS": "1", "ARROW_IO_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
"""The limit counts address space that is only reserved: libraries are told to reserve little."""


def bounded(records: Sequence[dict[str, Any]]) -> list[Figure]:
    """Clean a corpus four times larger than the memory that the process may have."""
    copies = 4 * LIMIT_MIB * 2**20 // sum(len(one["text"].encode()) for one in records) + 1
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        file = Path(folder) / "large.jsonl"
        copied(records, copies, file)
        (Path(folder) / "recipe.yaml").write_text(RECIPES["data_juicer"], encoding="utf-8")
        asked = ["data", "clean", str(file), "--out", f"{folder}/out", "--recipe", f"{folder}/recipe.yaml", "--workers", "1"]
        limited = f"import resource; resource.setrlimit(resource.RLIMIT_DATA, ({LIMIT_MIB << 20},) * 2)"
        start = f"{limited}; import runpy, sys; sys.argv[1:] = {asked!r}; runpy.run_module('headwater', run_name='__main__')"
        _, took, memory = spent([sys.executable, "-c", start], **LEAN)
        told = json.loads((Path(folder) / "out" / "report.json").read_text(encoding="utf-8"))
        size = file.stat().st_size / 2**20
    note = f"{size:.0f} MiB, {told['read']} documents, {took:.0f} s"
    return [
        Figure(name=f"input over the memory limit of {LIMIT_MIB} MiB", value=size / LIMIT_MIB, unit="x", at_least=4.0, note=note),
        Figure(name="its most memory", value=memory, unit="MiB", note="proportional share, mapped files included"),
    ]


if __name__ == "__main__":
    if "--peers" in sys.argv:
        sys.argv.remove("--peers")
        install()
    _report.main("data_cleaning", measure)
