"""The page of resilience: ``python hack/resilience.py [--check] docs``. What runs have shown is put into it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from chaos.report import with_results  # noqa: E402 - the folder has to be named first
from chaos.results import KEPT, kept  # noqa: E402

from fpj_core.generated import write_or_check  # noqa: E402

PAGE = "resilience.md"

if __name__ == "__main__":
    page = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    sys.exit(write_or_check({PAGE: with_results(page, kept(KEPT))}, "Generate the results of the page of resilience."))
