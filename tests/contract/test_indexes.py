"""Every query that grows with the collection uses an index, by the databases' own explanation."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from contract.records import COLLECTION, JOB, batch, image, job, shard
from pymongo import monitoring
from typing_extensions import override

from fpj_core.model import Folder, RemovalReason
from fpj_core.store import open_store
from fpj_core.store.mongodb import MongoStore
from fpj_core.store.mongodb_connection import INDEXES
from fpj_core.store.protocol import Store, nothing


def use_everything(store: Store) -> None:
    store.create_job(job())
    store.update_job(job())
    store.get_job(JOB)
    store.jobs(limit=3)
    store.jobs(collection=COLLECTION)
    store.upsert_images([image(n) for n in range(30)], 0)
    store.images_by_key(COLLECTION, ["p1.jpg"])
    store.image_keys(COLLECTION, [1, 2])
    store.claim_names(COLLECTION, [("0" * 32, "image")])
    store.images(COLLECTION, 3, 9)
    store.count_images(COLLECTION, 3, 9)
    store.next_ordinal(COLLECTION)
    store.mark_deleted(COLLECTION, [29], 0)
    store.put_shards(JOB, 1, [shard(0, 0, 20)])
    claimed = store.claim_shard(JOB, 1, "w", 1.0)
    assert claimed
    store.heartbeat(claimed, 2.0)
    store.flush(batch(claimed, 0, 20), 3.0)
    store.shards(JOB, 1)
    store.shard(JOB, 1, 0)
    store.silent_shards(JOB, 1, 1.0)
    store.claim_shard(JOB, 1, "w", 1.0, index=0)
    store.release_shards(JOB, 1)
    store.job_counts(JOB, 1)
    store.failures(JOB)
    store.failures(JOB, error_type="TooLarge")
    store.delete_failures(JOB)
    list(store.live_ordinals(COLLECTION))
    list(store.pending_ordinals(COLLECTION, {"full": "d1"}))
    list(store.derivative_files(COLLECTION, ["full"]))
    store.derivatives(COLLECTION, 0, 9, ["full"])
    list(store.made_by(job()))
    store.delete_derivatives(COLLECTION, [(3, "full")])
    list(store.vanished(COLLECTION, 1e12, nothing))
    store.start_removals(COLLECTION, [(4, "full")], RemovalReason.VANISHED, 0)
    store.end_removals(list(store.removals(COLLECTION, "cache")))
    store.record_requested_tiers(COLLECTION, "job", ["full"], 0)
    store.collections()
    store.name_owners(COLLECTION, ["0" * 32])
    store.forget_collection("none", 0)
    store.upsert_folder(Folder("cache", "/cache"))
    store.refresh_folder("cache")
    store.reserve("cache", "pod", 10)
    store.reserve("cache", "pod", 0)
    store.folder_amounts("cache")
    list(store.contents("cache", COLLECTION, nothing))
    store.statistics(COLLECTION)
    store.statistics(namespace="team")
    store.folder_totals("cache")
    store.folder_shares("cache", 10)
    list(store.verify_counters(COLLECTION))
    store.delete_attempts(JOB, 1)
    store.delete_job("none")
    store.identity()
    store.release_lease(store.acquire_lease("l", "h", 5, 1.0))
    store.claim_reporter(JOB, "h", 5, 1.0)


class Commands(monitoring.CommandListener):
    """Every command as the driver sends it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    @override
    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append((event.command_name, dict(event.command)))

    @override
    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    @override
    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


def filters(name: str, command: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The filters in a command."""
    if name == "find":
        yield command.get("filter", {})
    elif name == "findAndModify":
        yield command["query"]
    elif name in ("update", "delete"):
        yield from (part["q"] for part in command["updates" if name == "update" else "deletes"])
    elif name == "aggregate" and "$match" in (command["pipeline"] or [{}])[0]:
        yield command["pipeline"][0]["$match"]


def test_mongodb_filters_begin_with_an_index(
    mongodb_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each filter names ``_id`` or the first field of an index of its collection."""
    commands = Commands()
    monitoring.register(commands)
    store = open_store(f"{mongodb_server}/fpj-test-indexes")
    try:
        use_everything(store)
        checked = 0
        for name, command in commands.sent:
            if command.get("$db") != "fpj-test-indexes":
                continue
            collection = command.get(name)
            first_fields = {
                next(iter(index.document["key"])) for index in INDEXES.get(str(collection), [])
            } | {"_id"}
            for query in filters(name, command):
                if query:
                    assert first_fields & set(query), (
                        f"{name} on {collection}: {query} has no index"
                    )
                    checked += 1
                if collection == "images" and "$g" in str(query.get("ordinal")):
                    # Not every server of the protocol bounds a scan by an index that lacks a field
                    # of the filter, nor by a limit.
                    assert set(query) == {"collection", "ordinal"}, (
                        f"{name} on {collection}: {query} scans it all"
                    )
                    assert "$lt" in query["ordinal"] or command.get("limit") == 1, (
                        f"{query} has no end"
                    )
        assert checked > 30
        assert isinstance(store, MongoStore)
        for collection, query in (
            ("images", {"collection": "c", "ordinal": {"$gte": 3, "$lt": 9}, "deleted": False}),
            ("derivatives", {"collection": "c", "ordinal": {"$gt": 3}}),
            ("jobs", {"collection": "c"}),
        ):
            plan = str(
                store._db.command(
                    "explain", {"find": collection, "filter": query}, verbosity="queryPlanner"
                )
            )
            assert "IXSCAN" in plan, plan
            assert "COLLSCAN" not in plan
    finally:
        monitoring._LISTENERS.command_listeners.remove(commands)
        store._client.drop_database("fpj-test-indexes")  # type: ignore[attr-defined]
        store.close()


def test_sqlite_scans_no_large_table(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(str(path))
    queries: list[str] = []
    store._connection._sqlite.set_trace_callback(queries.append)  # type: ignore[attr-defined]
    use_everything(store)
    store.close()
    connection = sqlite3.connect(path)
    small = ("leases", "folders", "collections", "sqlite_master", "job_state")
    for query in queries:
        if not query.startswith(("SELECT", "UPDATE", "DELETE")):
            continue
        for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {query}"):
            scans = detail.startswith("SCAN") and not any(
                name in detail for name in (*small, "json_each")
            )
            assert not scans or "USING INDEX" in detail or "VIRTUAL" in detail, f"{detail}: {query}"
    connection.close()
