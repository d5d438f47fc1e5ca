"""What is kept of a run is plain JSON, by which it is known again."""

from __future__ import annotations

import json
from collections import Counter

from chaos.run import Order, Result


def test_a_result_is_one_line_of_json() -> None:
    result = Result(Order(7, 30), injected=dict(Counter(["store-kill", "store-kill"])))
    kept = json.loads(json.dumps(result.document()))
    assert kept["injected"] == {"store-kill": 2}
    assert kept["order"]["seed"] == 7
    assert kept["key"] == Order(7, 30).key


def test_another_order_has_another_key() -> None:
    assert len({Order(1, 30).key, Order(2, 30).key, Order(1, 31).key, Order(1, 30, calm=5.0).key}) == 4
