"""The tests of the engine take the cluster that KUBECONFIG names, whatever it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import kubernetes_apart, kubernetes_cluster
from tests.kubernetes_apart import REPOSITORY

TESTS = ("tests/contract/engines/test_engine_contract.py", "tests/flow/compute_engines/test_kubernetes_engine.py")
CHOSEN = "kubernetes and (finds_its_input or sweep or quota)"


def test_with_kubeconfig_set_the_tests_run_on_that_cluster_and_skip_what_it_does_not_have(tmp_path: Path) -> None:
    with kubernetes_apart.started(tmp_path, "--without-kueue") as kubeconfig:
        told = {"KUBECONFIG": str(kubeconfig), "KUBE_TEST_IMAGE": kubernetes_cluster.IMAGE, "KUBE_TEST_FOLDER": str(tmp_path / "volumes")}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, "-k", CHOSEN, f"--basetemp={tmp_path / 'tests'}"]
        ran = subprocess.run(command, cwd=REPOSITORY, env=os.environ | told, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.splitlines()[-1].startswith("3 passed, 1 skipped"), ran.stdout
    assert "this cluster has no Kueue" in ran.stdout
    assert all((folder / "kubernetes-jobs").exists() or (folder / "jobs").exists() for folder in (tmp_path / "volumes").iterdir())
    assert len(list((tmp_path / "volumes").iterdir())) == 4
