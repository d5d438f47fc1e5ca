"""The page has what was seen: no more seeds than ran, and no figure that nobody measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chaos.report import BEGIN, END, tables, write_report


def result(seed: int, **fields: Any) -> dict[str, Any]:
    jobs = [{"name": "c0", "attempts": 3, "recoveries": 1, "progress": {"total": 96}}]
    recovery = {"store-kill": {"images again": [2.0, 4.0, 9.0]}}
    return {
        "order": {"seed": seed, "faults": 10, "calm": None},
        "revision": "abc",
        "violations": [],
        "injected": {"store-kill": 8},
        "missed": {"suspend": 2},
        "recovery": recovery,
        "status_delays": [0.5, 3.0],
        "deletion": {"the jobs": 1.5},
        "jobs": jobs,
        "seconds": 90.0,
    } | fields


def test_what_was_seen_is_told() -> None:
    text = tables([result(1), result(2), result(4, violations=["lost: all"])])
    assert "**2 of 3 seeds were clean**: 24 faults in 4 minutes" in text
    assert "| dense | abc | 1-2, 4 | 10 |" in text
    assert "| SIGKILL of the store, started again later | 24 | images again | 9 | 4.0 | 9.0 | 10.3 / 13.5 |" in text
    assert "| SIGSTOP of the store | 0 | | | | | |" in text
    assert "| Deletion: until the jobs are gone | 3 | 1.5 | 1.5 | 1.5 |" in text


def test_only_the_results_of_a_page_are_replaced(tmp_path: Path) -> None:
    results, page = tmp_path / "chaos.jsonl", tmp_path / "page.md"
    results.write_text(json.dumps(result(1)) + "\n")
    page.write_text(f"before\n{BEGIN}\nobsolete\n{END}\nafter\n")
    write_report(results, page)
    write_report(results, page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n")
    assert "obsolete" not in text
    assert text.count("seeds were clean") == 1
