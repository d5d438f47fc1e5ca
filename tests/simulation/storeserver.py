"""The store's server: the real SQLite store in memory, which may be emptied, replaced, restored or away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fpj_core.errors import StoreError
from fpj_core.kube.names import lease_name
from fpj_core.store.sqlite import SQLiteStore
from simulation.kernel import Kernel, Process, _uuid4

_READS = ("get_", "images", "job_counts", "shard", "silent_", "now", "identity", "next_", "count_", "live_", "derivat")


class FencedWriteError(AssertionError):
    """The store took what it must refuse."""


class StoreServer:
    """One server."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.down = False
        self.skew = 0.0
        self.calls = 0
        self.backup: bytes | None = None
        self.changed_at = float("-inf")
        """When it was last emptied, replaced or restored."""
        self.real = self._opened(None)
        self.on_flush: Callable[[str], None] = lambda _job: None
        self.is_there: Callable[[str], bool] = lambda _key: False
        """Whether the source has an image of that key."""
        self.holders: dict[tuple[str, int, int], int] = {}

    @staticmethod
    def _opened(image: bytes | None) -> SQLiteStore:
        store = SQLiteStore(Path(":memory:"))
        if image is not None:
            store._connection._sqlite.deserialize(image)
        return store

    # What befalls it --------------------------------------------------------------------------------------

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
        copied._connection._sqlite.execute("UPDATE meta SET value = ? WHERE name = 'identity'", (_uuid4().hex,))
        self._replace(copied)

    def save(self) -> None:
        self.backup = self.real._connection._sqlite.serialize()

    def restore(self) -> None:
        if self.backup is not None:
            self._replace(self._opened(self.backup))

    def _replace(self, store: SQLiteStore) -> None:
        self.real.close()
        self.real = store
        self.changed_at = self.kernel.loop.now

    def close(self) -> None:
        self.real.close()

    # What is asked of it ----------------------------------------------------------------------------------

    def carry_out(self, process: Process, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        self.calls += 1
        if name == "now":
            return self.kernel.wall(self.skew)
        check = getattr(self, f"_check_{name}", None)
        try:
            answer = getattr(self.real, name)(*arguments, **options) if check is None else check(*arguments, **options)
        except StoreError as error:
            if not name.startswith(_READS):
                self.kernel.note(process.name, f"store.{name} -> {type(error).__name__}: {error}")
            raise
        if not name.startswith(_READS):
            self.kernel.note(process.name, f"store.{name}{_told(name, arguments)}")
        if isinstance(answer, Iterator):
            return self._stream(process, name, answer)
        return answer

    def _stream(self, process: Process, name: str, answer: Iterator[Any]) -> Iterator[Any]:
        for each in answer:
            process.check()
            yield each

    # No fenced write is accepted: told by what the store has, not by what it says -------------------------

    def _found(self, what: str) -> None:
        self.kernel.fail(FencedWriteError(what))

    def _epoch(self, job: str, attempt: int, index: int) -> int | None:
        query = "SELECT epoch FROM shards WHERE job = ? AND attempt = ? AND idx = ?"
        row = self.real._connection._sqlite.execute(query, (job, attempt, index)).fetchone()
        return row[0] if row else None

    def _check_flush(self, batch: Any, now: float) -> None:
        epoch = self._epoch(batch.job, batch.attempt, batch.index)
        self.real.flush(batch, now)
        self._held(epoch, batch.epoch, f"a batch of shard {batch.index}")
        self.on_flush(batch.job)

    def _check_heartbeat(self, shard: Any, now: float) -> None:
        epoch = self._epoch(shard.job, shard.attempt, shard.index)
        self.real.heartbeat(shard, now)
        self._held(epoch, shard.epoch, f"a heartbeat of shard {shard.index}")

    def _check_finish_shard(self, shard: Any, state: Any, now: float) -> None:
        epoch = self._epoch(shard.job, shard.attempt, shard.index)
        self.real.finish_shard(shard, state, now)
        self._held(epoch, shard.epoch, f"the end of shard {shard.index}")

    def _held(self, epoch: int | None, given: int, what: str) -> None:
        if epoch != given:
            self._found(f"{what} was accepted at epoch {given}, the store had {epoch}")

    def _check_claim_shard(self, job: str, attempt: int, holder: str, now: float, **options: Any) -> Any:
        claimed = self.real.claim_shard(job, attempt, holder, now, **options)
        if claimed is not None:
            key = (job, attempt, claimed.index)
            if claimed.epoch <= self.holders.get(key, -1) and not self.was_changed:
                self._found(f"two claims of shard {claimed.index} got the epoch {claimed.epoch}")
            self.holders[key] = claimed.epoch
        return claimed

    def _fence(self, collection: str) -> int:
        lease = self.real.lease(lease_name(collection))
        return lease.fence if lease else 0

    def _check_upsert_images(self, images: Any, fence: int) -> None:
        found = {each.collection: self._fence(each.collection) for each in images}
        self.real.upsert_images(images, fence)
        self._fenced(found, fence)

    def _check_mark_deleted(self, collection: str, ordinals: Any, fence: int) -> None:
        found = {collection: self._fence(collection)}
        for image in self.real.images(collection, 0, 10_000):
            if image.ordinal in ordinals and self.is_there(image.key):
                self._found(f"{image.key} is marked as deleted, and its source has it")
        self.real.mark_deleted(collection, ordinals, fence)
        self._fenced(found, fence)

    def _check_record_source(self, collection: str, source: str, fence: int) -> None:
        found = {collection: self._fence(collection)}
        self.real.record_source(collection, source, fence)
        self._fenced(found, fence)

    def _fenced(self, found: dict[str, int], given: int) -> None:
        for collection, fence in found.items():
            if fence != given:
                self._found(f"images of {collection} were written with fence {given}; it was {fence}")


def _told(name: str, arguments: tuple[Any, ...]) -> str:
    first: Any = arguments[0] if arguments else ""
    match name:
        case "flush":
            return (
                f" shard {first.index} {first.expected_cursor}->{first.cursor} epoch {first.epoch} fence {first.fence}"
            )
        case "finish_shard" | "heartbeat":
            return f" shard {first.index} epoch {first.epoch} {arguments[1] if name == 'finish_shard' else ''}"
        case "update_job":
            return f" {first.id[:8]} {first.phase} planning {first.planning_attempt} planned {first.planned_attempt}"
        case "put_shards" | "release_shards" | "claim_shard" | "delete_attempts":
            return f" {first[:8]} attempt {arguments[1]}"
    return ""
