"""What is kept of a run is a short line that says all that the page tells,
and nothing of the machine.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from chaos.results import KEPT, Ended, Order, Result, keep, kept, left_to_run

WRONG = Result(
    Order(7, 30, kinds=("store-kill", "suspend"), calm=25.0),
    "abc",
    ["lost: all"],
    {"suspend": 1},
    {"store-kill": {"images again": [2.5]}},
    [0.52, 0.48, 21.0],
    {"the jobs": 0.3},
    [Ended("Completed", 3, 1, 96)],
    {"faults": 61.0},
)


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert kept(path) == []
    keep(WRONG, path)
    (found,) = kept(path)
    assert sorted(found.status_delays) == [0.5, 0.5, 21.0]
    assert found.document() == WRONG.document()
    assert found.order == WRONG.order


def test_what_another_version_injected_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps(WRONG.document() | {"version": 0}) + "\n")
    assert kept(path) == []


def test_a_line_stays_short() -> None:
    order = Order(100, 100)
    many = Result(
        order, violations=["stuck: " + "x" * 10_000] * 1_000, missed=dict.fromkeys(order.kinds, 1)
    )
    assert len(json.dumps(many.document())) < 3_000
    assert many.document()["violations"][-1] == "and 995 more"


def test_what_was_injected_follows_from_the_seed() -> None:
    planned = Counter(fault.kind for fault in WRONG.order.schedule)
    assert WRONG.injected == planned - Counter(suspend=1)
    assert WRONG.injected.total() == 29


def test_a_seed_runs_again_until_it_is_clean() -> None:
    orders = [Order(7, 30), Order(8, 30)]
    wrong, clean = Result(orders[0], violations=["lost: all"]), Result(orders[0])
    assert left_to_run(orders, []) == orders
    assert left_to_run(orders, [wrong]) == orders
    assert left_to_run(orders, [wrong, clean]) == left_to_run(orders, [clean, wrong]) == orders[1:]


def test_another_order_has_another_key() -> None:
    others = [
        Order(1, 30),
        Order(2, 30),
        Order(1, 31),
        Order(1, 30, calm=5.0),
        Order(1, 30, warm=True),
    ]
    assert len({each.key for each in others}) == len(others)


def test_what_is_committed_can_be_read() -> None:
    lines = KEPT.read_text().splitlines()
    assert [each.document() for each in kept(KEPT)] == [json.loads(line) for line in lines]
