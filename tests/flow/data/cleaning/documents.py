"""Documents to clean: prose made of few words, with planted faults and planted copies."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = "数据 开放 平台 的 是 在 和 了 北京 城市 模型 训练 医疗 交通 金融 规则 公共 服务 授权 运营 the of and data city model plan"


def prose(random_source: random.Random, sentences: int = 12) -> str:
    """Return running text that no quality rule objects to."""
    made = []
    for _ in range(sentences):
        words = random_source.choices(WORDS.split(), k=6)
        made.append(" ".join([*words, *(str(random_source.randrange(10**6)) for _ in range(3))]))
    return "。\n".join(made) + "。"


def planted(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Return documents of which every tenth is short, every eleventh a copy, and every thirteenth nearly a copy."""
    source = random.Random(seed)
    documents: list[dict[str, Any]] = []
    for number in range(count):
        text = prose(source)
        if number % 10 == 9:
            text = "太短"
        elif number % 11 == 10:
            text = documents[0]["text"]
        elif number % 13 == 12:
            text = documents[number // 13]["text"] + " 补充"
        documents.append({"id": f"n{number}", "text": text, "source": "made"})
    return documents


def written(file: Path, documents: Sequence[dict[str, Any]]) -> Path:
    """Write documents as JSON lines."""
    file.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents), encoding="utf-8")
    return file
