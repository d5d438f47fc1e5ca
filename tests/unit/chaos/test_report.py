"""The page has what was seen: no more seeds than ran, and no figure that nobody measured."""

from __future__ import annotations

from typing import Any

import pytest
from chaos.report import BEGIN, END, tables, with_results
from chaos.results import Ended, Order, Result


def result(seed: int, **fields: Any) -> Result:
    recovery = {"store-kill": {"images again": [2.0, 4.0, 9.0]}}
    same: dict[str, Any] = {
        "revision": "abc",
        "missed": {"suspend": 2},
        "recovery": recovery,
        "status_delays": [0.5, 3.0],
        "deletion": {"the jobs": 1.5},
        "jobs": [Ended("Completed", 3, 1, 96)],
        "took": {"faults": 60.0, "end": 30.0},
    }
    return Result(Order(seed, 10, kinds=("store-kill", "suspend")), **same | fields)


def test_what_was_seen_is_told() -> None:
    text = tables([result(1), result(2), result(4, violations=["lost: all", "lost: more"])])
    assert (
        "**2 of 3 seeds were clean** when they ran last; 2 of all 3 runs: 24 faults in 4 minutes"
        in text
    )
    assert "| dense | abc | 1-2, 4 | 10 | 90 | 2 of 3 | 3 | 1 |" in text
    assert "| 4 | 10 | abc | lost: all (and 1 more) | not run again |" in text
    assert "| images again | 9 | 4.0 | 9.0 | 10.3 / 13.5 |" in text
    assert "| SIGSTOP of the store | 0 | | | | | |" in text
    assert (
        "| Deletion, while the next seed's faults came: until the jobs are gone | 3 | 1.5 | 1.5 |"
        " 1.5 |" in text
    )


def test_a_run_that_was_not_clean_stays_on_the_page_once_its_seed_is() -> None:
    text = tables([result(4, violations=["stuck: c0"]), result(4, revision="def")])
    assert "**1 of 1 seeds were clean** when they ran last; 1 of all 2 runs" in text
    assert "| 4 | 10 | abc | stuck: c0 | clean with def |" in text


def test_a_seed_that_was_clean_once_is_not_called_clean_where_its_last_run_was_not() -> None:
    assert "**0 of 1 seeds were clean** when they ran last" in tables(
        [result(4), result(4, violations=["stuck: c0"])]
    )


@pytest.mark.parametrize("results", [[], [result(1)]])
def test_only_the_results_of_a_page_are_replaced(results: list[Result]) -> None:
    text = with_results(f"before\n{BEGIN}\nobsolete\n{END}\nafter\n", results)
    assert text == with_results(text, results)
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n")
    assert "obsolete" not in text
    assert ("seeds were clean" in text) == bool(results)
    assert ("No seed of the present schedule has run yet." in text) != bool(results)
