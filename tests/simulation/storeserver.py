"""The store's server: the real SQLite store in memory, which may be emptied, replaced,
restored or away.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fpj_core.errors import StoreError
from fpj_core.store.sqlite import SQLiteStore
from simulation.kernel import Kernel, Process, _uuid4
from simulation.storechecks import StoreChecks

READS: tuple[str, ...] = (
    "get_",
    "images",
    "job_counts",
    "shard",
    "silent_",
    "now",
    "identity",
    "next_",
    "count_",
    "live_",
    "derivat",
)
READS += ("pending_", "made_")
"""Names of calls that change nothing begin so."""


class StoreServer:
    """One server."""

    def __init__(self, kernel: Kernel, checks: type[StoreChecks] = StoreChecks) -> None:
        self.kernel = kernel
        self.down = False
        self.skew = 0.0
        self.calls = 0
        self.backup: bytes | None = None
        self.changed_at = float("-inf")
        """When it was last emptied, replaced or restored."""
        self.real: SQLiteStore = self._opened(None)
        self.lost_records = False
        """Whether some of them are gone though it is the same store as before."""
        self.checks = checks(self)

    @staticmethod
    def _opened(image: bytes | None) -> SQLiteStore:
        store = SQLiteStore(Path(":memory:"))
        if image is not None:
            store._connection._sqlite.deserialize(image)
        return store

    # What befalls it ------------------------------------------------------------------------------

    @property
    def was_changed(self) -> bool:
        """Whether it has lost, or got back, anything since the beginning."""
        return self.changed_at > float("-inf")

    def empty(self) -> None:
        """Another database in its place."""
        self._replace(self._opened(None))

    def copy(self) -> None:
        """Another database with the same records: it has an identity of its own."""
        copied = self._opened(self.real._connection._sqlite.serialize())
        copied._connection._sqlite.execute(
            "UPDATE meta SET value = ? WHERE name = 'identity'", (_uuid4().hex,)
        )
        self._replace(copied)

    def save(self) -> None:
        self.backup = self.real._connection._sqlite.serialize()

    def restore(self) -> None:
        if self.backup is not None:
            self._replace(self._opened(self.backup))

    def lose_shards(self, number: int) -> None:
        """Some records of shards are gone, as after a server that lost a part of what it had
        acknowledged.
        """
        database = self.real._connection._sqlite
        rows = database.execute("SELECT job, attempt, idx FROM shards ORDER BY 1, 2, 3").fetchall()
        for row in self.kernel.dice.sample(rows, min(number, len(rows))):
            database.execute("DELETE FROM shards WHERE job = ? AND attempt = ? AND idx = ?", row)
            self.lost_records = True

    def _replace(self, store: SQLiteStore) -> None:
        self.real.close()
        self.real = store
        self.changed_at = self.kernel.loop.now
        self.checks.replaced()

    def close(self) -> None:
        self.real.close()

    # What is asked of it --------------------------------------------------------------------------

    def carry_out(
        self, process: Process, name: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> Any:
        self.calls += 1
        if name == "now":
            return self.kernel.wall(self.skew)
        check = getattr(self.checks, name) if name in self.checks.checked else None
        self.checks.sender = process.name
        try:
            answer = (
                getattr(self.real, name)(*arguments, **options)
                if check is None
                else check(*arguments, **options)
            )
        except StoreError as error:
            if not name.startswith(READS):
                self.kernel.note(process.name, f"store.{name} -> {type(error).__name__}: {error}")
            raise
        if not name.startswith(READS):
            self.kernel.note(process.name, f"store.{name}{_told(name, arguments)}")
        if isinstance(answer, Iterator):
            return self._stream(process, name, answer)
        return answer

    def _stream(self, process: Process, name: str, answer: Iterator[Any]) -> Iterator[Any]:
        for each in answer:
            process.check()
            yield each


def _told(name: str, arguments: tuple[Any, ...]) -> str:
    first: Any = arguments[0] if arguments else ""
    match name:
        case "flush":
            return (
                f" shard {first.index} {first.expected_cursor}->{first.cursor} epoch {first.epoch}"
                f" fence {first.fence}"
            )
        case "finish_shard" | "heartbeat":
            return (
                f" shard {first.index} epoch {first.epoch}"
                f" {arguments[1] if name == 'finish_shard' else ''}"
            )
        case "update_job":
            return (
                f" {first.id[:8]} {first.phase} planning {first.planning_attempt} planned"
                f" {first.planned_attempt}"
            )
        case "put_shards" | "release_shards" | "claim_shard" | "delete_attempts":
            return f" {first[:8]} attempt {arguments[1]}"
    return ""
