from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from unit.release.releasing import ROOT


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "audit_of_locks", ROOT / "hack" / "vulnerabilities.py"
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


AUDIT = load()
FILE = Path("lock.txt")
FINE = {"name": "fine", "version": "1", "vulns": []}
HIT = {"name": "bad", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "lost", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answers", "code"), [([FINE], 0), ([FINE, HIT], 1), ([FINE, SKIPPED], 2), ([HIT, SKIPPED], 2)]
)
def test_no_answer_is_no_success(
    answers: list[dict[str, Any]], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert AUDIT.report(FILE, answers) == code
    said = capsys.readouterr()
    assert ("bad 2: PYSEC-1, fixed in 3" in said.out) == (HIT in answers)
    assert ("NOT AUDITED: 1 of 2 packages: not found" in said.err) == (SKIPPED in answers)
