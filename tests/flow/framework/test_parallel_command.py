"""`headwater parallel` as people call it: in a process of its own, without torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run([sys.executable, "-m", "headwater", "parallel", *arguments], capture_output=True, text=True, timeout=120)


def test_the_best_five_plans_are_printed_with_intervals_memory_and_reasons() -> None:
    done = called("llama-3-70b", "--fleet", "64xA100-80", "--why", "dp64 zero1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" of 80 GiB") == 5
    assert "80 % interval" in done.stdout
    assert "█" in done.stdout
    assert "GiB more than the 80 there are" in done.stdout
    assert "The nearest that fits: " in done.stdout


def test_json_holds_everything_and_the_causes_add_up() -> None:
    done = called("llama-3-8b", "--fleet", "8xH100-80", "--precision", "bf16,fp8", "--top", "3", "--json")
    told = json.loads(done.stdout)
    assert len(told["plans"]) == 3
    assert told["gap"] == 0
    for plan in told["plans"]:
        assert sum(plan["terms"].values()) == pytest.approx(plan["step_s"])
        assert plan["low_s"] < plan["step_s"] < plan["high_s"]
        assert all(stage["total_gib"] <= stage["capacity_gib"] for stage in plan["stages"])


@pytest.mark.parametrize("tool", ["accelerate", "llamafactory", "megatron", "torchtitan"])
def test_a_plan_is_written_for_a_tool(tool: str) -> None:
    done = called("llama-3-8b", "--fleet", "8xA100-80", "--emit", tool)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# llama-3-8b on 8xnvidia/a100/sxm4-80gb: ")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("llama-9", "--fleet", "8xA100-80"), 1, "not_found: No model 'llama-9'"),
        (("llama-3-8b", "--fleet", "8xQ100"), 1, "not_found: No chip 'Q100'"),
        (("llama-3-8b", "--fleet", "many"), 2, "bad_input: 'many' is no pool of chips"),
        (("llama-3-70b", "--fleet", "2xA100-40"), 2, "GiB a chip"),
        (("llama-3-8b", "--fleet", "8xA100-80", "--objective", "speed"), 2, "'speed' is no objective"),
        (("llama-3-8b", "--fleet", "8xA100-80", "--precision", "int3"), 2, "names no number formats"),
        (("llama-3-8b", "--fleet", "8xA100-80", "--why", "best"), 2, "'best' is no layout"),
        (("llama-3-8b", "--fleet", "8xA100-80", "--emit", "axolotl"), 1, "No tool 'axolotl'"),
        (("nowhere.toml", "--fleet", "8xA100-80"), 2, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_exit_status(arguments: tuple[str, ...], status: int, said: str) -> None:
    done = called(*arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_planning_imports_neither_torch_nor_scipy() -> None:
    code = (
        "import sys; from headwater.framework.parallel.asked import Asked, answered, found; "
        "answered(found(Asked(model='llama-3-8b', fleet='8xA100-80')), None); "
        "assert not {'torch', 'scipy', 'pandas', 'numba'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
