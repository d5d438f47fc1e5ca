"""What the cluster's store has to do for a job, in CPU of its server: for an image, a heartbeat,
a reconciliation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing

from bench.mongodb import own_server
from bench.plane import cpu_seconds, load
from bench.result import Benchmark, Row, Scale
from bench.suites.stores import COLLECTION, new_job, record_shard
from bench.synthetic import SyntheticSource
from fpj_core.planning import cut_shards
from fpj_core.store import open_store
from fpj_worker.indexer import index_collection

_SHARD = 10_000
_SHARDS = 5_000
"""Of fifty million images."""


def cpu(scale: Scale) -> Iterator[Row]:
    """Images are recorded as workers do, in batches of a hundred, two derivatives each.

    The server forces no write.
    """
    images, beats, looks = scale.pick((2_000, 300, 3), (50_000, 2_000, 10))
    with own_server(sync=False) as (uri, pid), closing(open_store(uri)) as store:

        def measured(what: str, each: int, work: Callable[[], object]) -> Row:
            server, began = cpu_seconds(pid), time.perf_counter()
            work()
            seconds = time.perf_counter() - began
            spent = (cpu_seconds(pid) - server) / each * 1e6
            return Row(
                f"{what}, CPU of the server",
                spent,
                "µs",
                note=f"{each / seconds:,.0f} a second; {load()}",
            )

        index = lambda: index_collection(store, SyntheticSource(images), COLLECTION, fence=0)  # noqa: E731
        yield measured("an image listed", images, index)
        job = new_job(store, "cpu").id
        store.put_shards(job, 1, cut_shards(job, 1, COLLECTION, range(images), _SHARD))

        def record() -> None:
            while shard := store.claim_shard(job, 1, "holder", time.time()):
                record_shard(store, shard)

        yield measured("an image recorded", images, record)
        wide = new_job(store, "wide").id
        store.put_shards(wide, 1, cut_shards(wide, 1, COLLECTION, range(_SHARDS), 1))
        held = store.claim_shard(wide, 1, "holder", time.time())
        assert held

        def beat() -> None:
            for _ in range(beats):
                store.heartbeat(held, time.time())

        yield measured("a sign of life", beats, beat)
        store.claim_reporter(wide, "holder", 1e9, time.time())

        def tries() -> None:
            for _ in range(beats):
                store.claim_reporter(wide, "other", 1e9, time.time())

        yield measured("a try to report in vain", beats, tries)
        many = looks * _SHARDS
        counts = lambda: [store.job_counts(wide, 1) for _ in range(looks)]  # noqa: E731
        yield measured("a shard in the counts of a job", many, counts)
        silent = lambda: [store.silent_shards(wide, 1, 1.0) for _ in range(looks)]  # noqa: E731
        yield measured("a shard in the search for abandoned ones", many, silent)


BENCHMARKS = (Benchmark("store-cpu", "The store's share of a job, in CPU of its server", cpu),)
