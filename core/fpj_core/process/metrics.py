"""Metrics that the operator and the workers share, and how they are served.

Worker pods are too short-lived to be scraped reliably, and their counters are lost with them. So
what must not be lost, a job's images by result and error type, is exported by the operator from the
store, where counts are exact. Pods serve what only they know (seconds, load) while they live; a
PodMonitor scrapes them. A push gateway is not needed, and would keep the numbers of dead pods
forever. Labels are from closed sets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from prometheus_client import Counter, Histogram, start_http_server

from fpj_core.errors import ConcurrencyError, FencedError, LeaseHeldError, StoreError
from fpj_core.process.listening import any_address
from fpj_core.store.protocol import Store

STORE_SECONDS = Histogram(
    "fpj_store_seconds",
    "Duration of a store operation in seconds, errors included.",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

STORE_ERRORS = Counter(
    "fpj_store_errors",
    "Store operations that failed, without those that lost a race to another writer.",
    ["operation"],
)

_SECOND = (ConcurrencyError, FencedError, LeaseHeldError)
"""How a store says no to one of two."""

_TIMED = frozenset(
    (
        "identity",
        "acquire_lease",
        "renew_lease",
        "image_keys",
        "images_by_key",
        "upsert_images",
        "mark_deleted",
        "claim_names",
        "images",
        "count_images",
    )
    + (
        "derivatives",
        "delete_derivatives",
        "create_job",
        "get_job",
        "update_job",
        "jobs",
        "put_shards",
        "shards",
    )
    + (
        "shard",
        "silent_shards",
        "claim_shard",
        "release_shards",
        "heartbeat",
        "flush",
        "finish_shard",
        "job_counts",
    )
    + (
        "claim_reporter",
        "failures",
        "delete_failures",
        "delete_attempts",
        "upsert_folder",
        "folders",
        "refresh_folder",
        "statistics",
        "folder_totals",
        "folder_shares",
        "delete_job",
    )
)
"""Operations that are over when they return.

Those that stream take as long as whoever reads them.
"""


def timed(store: Store) -> Store:
    """The store, with its operations measured."""
    for name in _TIMED:
        # From 0 on: Prometheus sees no increase in a first error that appears as 1.
        STORE_ERRORS.labels(name)
    return cast("Store", _Timed(store))


def serve(port: int) -> None:
    """Answer scrapes on ``port`` from a daemon thread. Raises OSError if the port is taken."""
    start_http_server(port, any_address()[1])


class _Timed:
    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return _measured(name, found) if name in _TIMED else found


def _measured(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        with STORE_SECONDS.labels(name).time():
            try:
                return operation(*arguments, **options)
            except _SECOND:
                raise
            except StoreError:
                STORE_ERRORS.labels(name).inc()
                raise

    return call
