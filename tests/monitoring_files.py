"""What the chart ships for monitoring, as the tests read it,
and the programs of Prometheus to try it with.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FILES = ROOT / "charts" / "fpj" / "files"
RULES = (FILES / "alerts.yaml", FILES / "alerts-api.yaml")
RUNBOOKS = ROOT / "docs" / "runbooks"

_METRIC = re.compile(r"\b(?:fpj|process)_[a-z0-9_]+")


def prometheus_program(name: str) -> Path:
    """promtool or prometheus; hack/prometheus.sh builds them."""
    found = subprocess.run(
        ["hack/prometheus.sh", "--no-build"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.fail(found.stderr)
    return Path(found.stdout.strip()) / name


def rules() -> dict[str, dict[str, Any]]:
    """Alert rules by name."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    found = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in found}) == len(found), "two alerts have the same name"
    return {rule["alert"]: rule for rule in found}


def dashboard() -> dict[str, Any]:
    return dict(json.loads((FILES / "dashboard.json").read_text()))


def metrics_in(query: str) -> set[str]:
    """Names of series that a query asks for."""
    return set(_METRIC.findall(query))
