"""How long something took is read off what was seen five times a second."""

from __future__ import annotations

from chaos.samples import (
    Files,
    Leader,
    Shards,
    another_leader,
    files_again,
    shard_again,
    status_delays,
)
from experiments.journal import Seen


def shards(at: float, holder: str, cursor: int, attempt: int = 1) -> Shards:
    """One shard of a job, and another one that nothing befalls."""
    return Shards(at, "uid", attempt, {0: holder, 1: "other"}, {0: cursor, 1: int(at * 10)}, cursor)


def test_files_come_again_after_the_fault_is_over() -> None:
    seen = [Files(1, 10), Files(2, 12), Files(3, 12), Files(4, 12), Files(5, 13)]
    assert files_again(seen, 2.5) == 2.5
    assert files_again(seen, 5) is None
    assert files_again(seen, 0.5) is None, "nobody looked before"


def test_a_shard_moves_again_and_who_has_it_then() -> None:
    seen = [
        shards(1, "victim", 3),
        shards(2, "victim", 3),
        shards(3, "rescuer", 3),
        shards(4, "rescuer", 4),
    ]
    assert shard_again(seen, "victim", 1.5) == (2.5, 1.5)
    assert shard_again(seen, "nobody", 1.5) == (None, None)
    another = [*seen[:2], shards(3, "victim", 9, attempt=2)]
    assert shard_again(another, "victim", 1.5) == (None, None), "another attempt has other shards"


def test_another_leads() -> None:
    seen = [Leader(1, "first"), Leader(2, "first"), Leader(3, ""), Leader(4, "second")]
    assert another_leader(seen, 2) == 2
    assert another_leader(seen[:3], 2) is None


def test_a_status_is_as_late_as_what_it_says_is_old() -> None:
    def status(at: float, done: int) -> Seen:
        progress = {"completed": done, "skipped": 0, "failed": 0}
        return Seen(at, "job", {"phase": "Running", "attempt": {"number": 1}, "progress": progress})

    recorded = [shards(at, "pod", at * 10) for at in range(1, 6)]
    statuses = [status(2, 10), status(3.5, 30), status(4, 30), status(9, 45)]
    assert list(status_delays(recorded, statuses, "uid")) == [1.5, 0.5, 5], (
        "of 20, 30 and 40; of 50 nothing was said"
    )
    again = [shards(10, "pod", 20, attempt=2), shards(11, "pod", 25, attempt=2)]
    assert list(status_delays([*recorded, *again], statuses, "uid")) == [1.5, 0.5, 5], (
        "another attempt, another count"
    )
    assert list(status_delays(recorded, statuses, "another")) == []
