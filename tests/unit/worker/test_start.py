"""What starts fast: worker processes load nothing that only their supervisor needs."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"pydantic", "prometheus_client", "pymongo", "kubernetes", "click", "rich"}


def test_worker_processes_load_no_manifests_no_metrics_and_no_store() -> None:
    code = "import sys, fpj_worker.engine, fpj_worker.tasks; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert HEAVY & set(done.stdout.split()) == set()
