"""How long the store remembers jobs whose resource was deleted: their records, shards and failures,
never outputs.

A job's record stays as long as its resource. After that it answers what failed and when, until
there are enough newer ones of the collection, or it is too old. Only the leader forgets, a bounded
number of jobs at a time; and only what it knows to be over: the job has ended, and the API server
says that there is no such resource any more.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial

from fpj_core.errors import StoreError
from fpj_core.jobs import change_job
from fpj_core.kube.api import Cluster
from fpj_core.kube.errors import ClusterError
from fpj_core.model import Job, Phase
from fpj_core.store.protocol import Store
from fpj_operator.keys import Key
from fpj_operator.settings import OperatorSettings
from fpj_operator.storecalls import Check
from fpj_operator.storehealth import StoreHealth

_SECONDS = 600.0
_PAGE, _MOST_READ = 500, 100_000
_TICK = 0.001
_SUBJECT = "history"
_MOST_CHECKED = 200
"""Jobs of a pass about which the API server is asked, and which are forgotten at most."""

UidOf = Callable[[Key], Awaitable[str | None]]
"""The uid of the resource of that name now; None if there is none. Raises `ClusterError`."""

log = logging.getLogger("fpj.history")


async def keep_history(
    cluster: Cluster, store: Store, health: StoreHealth, settings: OperatorSettings
) -> None:
    """Forever; what fails is tried again with the next pass.

    A start has enough to do without the first.
    """

    async def uid_of(key: Key) -> str | None:
        found = await cluster.get("FileProcessingJob", key.namespace, key.name)
        return str(found["metadata"]["uid"]) if found else None

    while True:
        await asyncio.sleep(_SECONDS)
        try:
            await prune(store, health, uid_of, settings, time.time())
        except (ClusterError, StoreError) as error:
            log.warning("old records are kept for now: %s", error)


async def prune(
    store: Store, health: StoreHealth, uid_of: UidOf, settings: OperatorSettings, now: float
) -> int:
    """One pass; how many jobs were forgotten. Raises `ClusterError` and `StoreError`.

    What the store does of it late is as true then: a job that is gone is not there again.
    """
    forgotten = 0
    for job in await _outdated(store, health, settings, now):
        key = key_of(job)
        if key is None or await uid_of(key) == job.id:
            continue
        if job.phase.finished:
            await _forget(store, health, job.id)
            forgotten += 1
        else:  # deleted while no operator ran: it ends now, and its time begins
            await _cancel(store, health, job.id, now)
    if forgotten:
        log.info("%d old jobs forgotten", forgotten)
    return forgotten


def key_of(job: Job) -> Key | None:
    """The resource of a job; None for one of `fpj run`, which has none."""
    metadata = job.manifest.get("metadata")
    if (
        not isinstance(metadata, Mapping)
        or metadata.get("uid") != job.id
        or not metadata.get("namespace")
    ):
        return None
    return Key(metadata["namespace"], metadata["name"])


async def _outdated(
    store: Store, health: StoreHealth, settings: OperatorSettings, now: float
) -> list[Job]:
    """Jobs to be asked about, of namespaces that are ours: ended ones beyond the limits,
    and any that are very old.
    """
    seen: Counter[str] = Counter()
    found = []
    async for job in _all(store, health):
        key = key_of(job)
        if key is None or (settings.namespaces and key.namespace not in settings.namespaces):
            continue
        seen[job.collection] += job.phase.finished
        if _beyond(job, seen[job.collection], settings, now):
            found.append(job)
    # By chance: the oldest may all have their resources still, and would be asked about in each
    # pass.
    return random.sample(found, min(_MOST_CHECKED, len(found)))


async def _all(store: Store, health: StoreHealth) -> AsyncIterator[Job]:
    """Newest first, each once.

    Those of the second at which a page ends are read again: pages are cut by time.
    """
    before: float | None = None
    seen = set[str]()
    while len(seen) < _MOST_READ:
        page = await health.ask(_SUBJECT, partial(_page, store, before))
        fresh = [job for job in page if job.id not in seen]
        for job in fresh:
            yield job
        seen.update(job.id for job in fresh)
        if len(page) < _PAGE:
            return
        last = page[-1].created_at
        before = last + _TICK if fresh else last


def _page(store: Store, before: float | None, _: Check) -> list[Job]:
    return store.jobs(limit=_PAGE, before=before)


async def _forget(store: Store, health: StoreHealth, uid: str) -> None:
    await health.ask(uid, lambda check: store.delete_job(uid, check), long=True)


async def _cancel(store: Store, health: StoreHealth, uid: str, now: float) -> None:
    def cancelled(job: Job) -> Job:
        if job.phase.finished:
            return job
        return replace(job, phase=Phase.CANCELLED, reason="Deleted", message="", finished_at=now)

    await health.ask(uid, lambda _: change_job(store, uid, cancelled))


def _beyond(job: Job, place: int, settings: OperatorSettings, now: float) -> bool:
    too_many = 0 < settings.history_limit < place
    ended = job.finished_at if job.phase.finished else job.last_progress_at or job.created_at
    too_old = 0 < settings.history_seconds < now - (ended or now)
    return too_old or (job.phase.finished and too_many)
