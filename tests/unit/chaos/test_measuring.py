"""A time counts where it was over before the next fault,
and the next fault waits no longer than for that.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

from chaos.injecting import Active
from chaos.measuring import measure, recovering
from chaos.results import Order, Result
from chaos.samples import Files, Leader, Shards
from chaos.schedule import Fault


def active(number: int, kind: str, started: float, healed: float, victim: str = "") -> Active:
    return Active(Fault(number, kind, started, healed, 0.0), victim, started, ExitStack(), healed)


def watched(files: dict[float, int], **more: Any) -> Any:
    found = [Files(at, number) for at, number in files.items()]
    return SimpleNamespace(**{"files": found, "shards": [], "leaders": []} | more)


NOTHING: Any = SimpleNamespace(names=[])
FILES = {1.0: 5, 9.0: 5, 12.5: 6, 30.0: 7}


def test_what_came_before_the_next_fault_is_measured() -> None:
    result = Result(Order(1, 2))
    over = [
        active(0, "store-kill", 5.0, 10.0),
        active(1, "store-kill", 20.0, 22.0),
        active(2, "suspend", 25.0, 26.0),
    ]
    measure(over, watched(FILES), NOTHING, result)
    assert result.recovery == {
        "store-kill": {"images again": [2.5]},
        "suspend": {"images again": [4.0]},
    }


def test_the_next_fault_waits_until_all_that_is_measured_has_come_and_a_moment_more() -> None:
    now = 10.0
    seen = watched({9.0: 5, 10.0: 5}, leaders=[Leader(9.0, "one")])
    recovered = recovering(seen, NOTHING, lambda: now)
    over = [active(0, "leader-kill", 10.0, 10.0)]
    assert not recovered(over)
    seen.files.append(Files(11.0, 6))
    now = 11.0
    assert not recovered(over)
    now = 30.0
    assert not recovered(over), "nobody leads"
    seen.leaders.append(Leader(31.0, "another"))
    now = 31.0
    assert not recovered(over), "a moment ago"
    now = 34.0
    assert recovered(over)
    assert not recovered([*over, active(1, "leader-kill", 34.0, 34.0)]), "each fault has its own"


def test_a_pod_that_goes_on_by_itself_is_not_waited_for_to_be_replaced() -> None:
    now = 13.0
    shards = [
        Shards(9.0, "uid", 1, {0: "pod"}, {0: 4}, 4),
        Shards(12.0, "uid", 1, {0: "pod"}, {0: 5}, 5),
    ]
    seen = watched({9.0: 4, 12.0: 5}, shards=shards)
    recovered = recovering(seen, NOTHING, lambda: now)
    over = [active(0, "worker-stop", 10.0, 11.0, "pod")]
    assert not recovered(over)
    now = 16.0
    assert recovered(over)
