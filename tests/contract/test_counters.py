"""Totals come from counters: right after every write, at a cost that does not grow,
verified and repaired.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
from contract.records import COLLECTION, JOB, batch, derivative, image, shard
from pymongo import monitoring
from typing_extensions import override

from fpj_core.errors import StoreError
from fpj_core.model import Counts, Folder, Shard
from fpj_core.store.counters import Counted, CounterCheck, Drift
from fpj_core.store.mongodb import MongoStore
from fpj_core.store.protocol import CollectionStatistics, Store


def claimed(store: Store, stop: int = 100) -> Shard:
    store.put_shards(JOB, 1, [shard(0, 0, stop)])
    found = store.claim_shard(JOB, 1, "w", 1.0)
    assert found
    return found


def exact(store: Store) -> bool:
    """Whether every counter says what there is, by counting."""
    return all(each == CounterCheck(each.collection) for each in store.verify_counters())


def test_every_write_is_counted(store: Store) -> None:
    store.upsert_images([image(n) for n in range(10)], 0)
    assert exact(store)
    store.upsert_images([replace(image(3), size=7), replace(image(4), deleted=True), image(10)], 0)
    assert exact(store)
    store.mark_deleted(COLLECTION, [4, 5, 6, 999], 0)
    assert exact(store)
    held = claimed(store)
    store.flush(batch(held, 0, 5), 1.0)
    store.flush(batch(held, 0, 5), 1.0)
    ahead = tuple(derivative(n, "thumbnail", size=3) for n in range(7, 9))
    store.flush(replace(batch(held, 5, 5), counts=Counts(), derivatives=ahead), 1.0)
    assert store.folder_totals("cache") == (7, 56, 1)
    moved = (replace(derivative(0), folder="other", bytes=25), replace(derivative(1), bytes=11))
    store.flush(replace(batch(held, 5, 6), derivatives=moved), 1.0)
    assert store.folder_totals("cache") == (6, 47, 1)
    assert store.folder_totals("other") == (1, 25, 1)
    store.delete_derivatives(COLLECTION, [(0, "full"), (2, "full"), (7, "thumbnail"), (50, "full")])
    assert store.folder_totals("other") == (0, 0, 0)
    assert exact(store)
    (only,) = store.statistics()
    assert only == CollectionStatistics(
        COLLECTION, 8, only.source_bytes, {"full": (3, 31), "thumbnail": (1, 3)}
    )


def test_an_older_fence_counts_nothing(store: Store) -> None:
    held = claimed(store)
    store.flush(batch(held, 0, 3, fence=7), 1.0)
    store.flush(
        replace(batch(held, 3, 5, fence=6), derivatives=(derivative(0, size=99), derivative(4))),
        1.0,
    )
    assert store.folder_totals("cache") == (4, 40, 1)
    assert exact(store)


def test_statistics_of_a_namespace(store: Store) -> None:
    for name in ("team.a", "team.b", "teams.a", "tea.m", "plain"):
        store.upsert_images([image(0, collection=name)], 0)
    assert [each.collection for each in store.statistics(namespace="team")] == ["team.a", "team.b"]
    assert [each.collection for each in store.statistics("teams.a")] == ["teams.a"]
    assert len(store.statistics()) == 5
    assert store.statistics("none") == store.statistics(namespace="none") == []


def test_a_folder_nobody_recorded(store: Store) -> None:
    assert store.folder_totals("none") == (0, 0, 0)
    with pytest.raises(StoreError, match="not recorded"):
        store.refresh_folder("none")


def drift(store: Store) -> None:
    """As a writer leaves it that dies between its records and their counters."""
    if isinstance(store, MongoStore):
        store._db.counters.update_one({"tier": "full"}, {"$inc": {"files": -5, "bytes": -50}})
        store._db.image_counters.update_one({"_id": COLLECTION}, {"$inc": {"files": 1, "bytes": 1}})
    else:
        with store._connection.write() as db:  # type: ignore[attr-defined]
            db.execute("UPDATE counters SET files = files - 5, bytes = bytes - 50")
            db.execute("UPDATE image_counters SET files = files + 1, bytes = bytes + 1")


def test_what_drifted_is_found_and_repaired(store: Store) -> None:
    store.upsert_images([image(n) for n in range(12)], 0)
    store.flush(batch(claimed(store), 0, 12), 1.0)
    source = store.statistics()[0].source_bytes
    drift(store)
    found = [
        Drift(COLLECTION, "", "", (13, source + 1), (12, source)),
        Drift(COLLECTION, "cache", "full", (7, 70), (12, 120)),
    ]
    steps: list[None] = []
    assert list(store.verify_counters(COLLECTION, lambda: steps.append(None))) == [
        CounterCheck(COLLECTION, tuple(found))
    ]
    assert steps, "it can be stopped"
    assert store.folder_totals("cache") == (7, 70, 1), "verifying changes nothing"
    assert list(store.repair_counters()) == [CounterCheck(COLLECTION, tuple(found))]
    assert store.folder_totals("cache") == (12, 120, 1)
    assert exact(store)


def test_a_repair_leaves_alone_what_was_counted_meanwhile(store: Store) -> None:
    store.upsert_images([image(n) for n in range(3)], 0)
    store.flush(batch(claimed(store), 0, 3), 1.0)
    counted = cast("Counted", store)
    known = counted.recorded_amounts(COLLECTION)
    for place, (files, size) in known.items():
        assert not counted.set_amount(COLLECTION, place, (files - 1, size), (files, size + 5))
        assert not counted.set_amount(COLLECTION, place, (files, size - 1), (files + 5, size))
        assert not counted.set_amount(COLLECTION, place, (0, 0), (files + 5, size))
    assert counted.recorded_amounts(COLLECTION) == known and len(known) == 2


def test_a_collection_that_is_written_to_is_busy(
    store: Store, open_another: Callable[[], Store]
) -> None:
    store.upsert_images([image(n) for n in range(6_000)][:1_000], 0)
    other, number = open_another(), iter(range(1_000, 2_000))
    drift(store)
    write: Callable[[], None] = lambda: other.upsert_images([image(next(number))], 0)  # noqa: E731
    assert list(store.repair_counters(COLLECTION, write)) == [CounterCheck(COLLECTION, busy=True)]


def test_ending_a_job_reads_counters_only(mongodb_server: str) -> None:
    """What the end costs cannot grow with the derivatives: no query of it touches them."""
    asked: list[str] = []

    class Commands(monitoring.CommandListener):
        @override
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            asked.append(str(event.command.get(event.command_name)))

        @override
        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

        @override
        def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    commands = Commands()
    monitoring.register(commands)
    store = MongoStore(f"{mongodb_server}/fpj-test-end")
    try:
        store.upsert_folder(Folder("cache", "/cache"))
        store.upsert_images([image(n) for n in range(5)], 0)
        store.flush(batch(claimed(store), 0, 5), 1.0)
        asked.clear()
        store.refresh_folder("cache")
        store.statistics(COLLECTION)
        store.statistics(namespace="team")
        assert set(asked) == {"counters", "folders", "image_counters"}
        for name, query in (
            ("counters", {"folder": "cache"}),
            ("counters", {"collection": COLLECTION}),
        ):
            plan = str(
                store._db.command(
                    "explain", {"find": name, "filter": query}, verbosity="queryPlanner"
                )
            )
            assert "IXSCAN" in plan and "COLLSCAN" not in plan
    finally:
        monitoring._LISTENERS.command_listeners.remove(commands)
        store._client.drop_database("fpj-test-end")
        store.close()


def test_what_a_folder_holds_by_tier_and_by_collection(store: Store) -> None:
    """The largest come first; those beyond the number asked for are left out."""
    names = ("a", "b", "c")
    store.put_shards(
        JOB, 1, [replace(shard(n, 0, 3), collection=name) for n, name in enumerate(names)]
    )
    for number, name in enumerate(names):
        images = [image(n, collection=name) for n in range(3)]
        store.upsert_images(images, 0)
        held = store.claim_shard(JOB, 1, "w", 1.0, index=number)
        assert held
        made = tuple(
            replace(
                derivative(n, tier, size=10 * (number + 1)), image=images[n].id, collection=name
            )
            for n in range(number + 1)
            for tier in ("full", "thumbnail")[: 1 + (name == "c")]
        )
        store.flush(replace(batch(held, 0, 3), collection=name, derivatives=made), 1.0)
    shares = store.folder_shares("cache", 2)
    assert list(shares.by_collection.items()) == [("c", (6, 180)), ("b", (2, 40))]
    assert list(shares.by_tier.items()) == [("full", (6, 140)), ("thumbnail", (3, 90))]
    assert store.folder_shares("other", 2).by_tier == {}
    store.delete_derivatives("c", [(n, "thumbnail") for n in range(3)])
    assert "thumbnail" not in store.folder_shares("cache", 2).by_tier
