"""`headwater compute`: the catalogue and the probe from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import headwater


def run(*arguments: str) -> Any:
    done = subprocess.run([sys.executable, "-m", "headwater", "compute", *arguments, "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_unknown_figures_of_a_chip_stay_unknown() -> None:
    figures = {row["chip"]: row for row in run("chips", "--vendor", "metax")}
    assert figures["metax/c500/pcie"]["bf16_tflops"] is None


def test_the_probe_measures_this_machine_and_says_what_it_skipped() -> None:
    told = run("probe", "--device", "cpu", "--seconds", "0.05")
    assert float(told["figures"]["fp32_tflops"]) > 0
    assert float(told["figures"]["memory_bandwidth_gb_s"]) > 0
    assert told["skipped"]


def test_the_worked_example_of_sites_is_listed() -> None:
    example = Path(headwater.__file__).parent / "compute" / "catalogue" / "sites" / "capital.toml"
    assert {"tianjin", "hebei", "shanxi", "inner-mongolia"} <= {
        part for row in run("sites", str(example)) for part in (row["site"], row["region"])
    }
