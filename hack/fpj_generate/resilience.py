"""The page of resilience: what runs of `make chaos` have shown is put into it.

The rest is written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = "resilience.md"
sys.path.append(str(ROOT / "tests"))

from chaos.report import with_results  # noqa: E402 - the folder has to be named first
from chaos.results import KEPT, kept  # noqa: E402


def files() -> dict[str, str]:
    """File name to text."""
    page = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    return {PAGE: with_results(page, kept(KEPT))}
