"""Follows the jobs of a namespace, or of all: a list, then a watch from where the list ended,
forever.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Any

from fpj_api import metrics
from fpj_api.table import HeldJob, JobTable, held_of
from fpj_core.kube.api import Cluster
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.jobresource import JobResource

KIND = "FileProcessingJob"
_PAGE = 500
_MOST_PAGES = 2_000
_WATCH_SECONDS = (240, 300)
_SILENCE_SECONDS = 100.0
"""Bookmarks come about once a minute."""
_MOST_SILENCE_SECONDS = 240.0
_BACKOFF_SECONDS, _MOST_BACKOFF_SECONDS = 0.5, 20.0
_SHORT_SECONDS = 1.0
_FORBIDDEN = frozenset({401, 403})

log = logging.getLogger("fpj.api")


class Informer:
    """Keeps the table in step with one scope: a namespace, or all of them for None."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str | None,
        table: JobTable,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.namespace = namespace
        self.listed = False
        """Whether the table has been filled once."""
        self.refused = False
        """Whether the API may not read this scope now."""
        self._cluster, self._table, self._clock = cluster, table, clock
        self._version: str | None = None
        self._heard_at = clock()
        self._failures = 0

    def problem(self) -> str | None:
        """Why the table may not be right, or None."""
        where = f"namespace {self.namespace}" if self.namespace else "all namespaces"
        if self.refused:
            return f"the API may not read the jobs of {where}"
        if not self.listed:
            return f"the jobs of {where} are not listed yet"
        silent = self._clock() - self._heard_at
        return (
            f"nothing was heard of {where} for {silent:.0f} s"
            if silent > _MOST_SILENCE_SECONDS
            else None
        )

    async def run(self) -> None:
        """Forever. Whatever the API server does, it is retried, with increasing delays."""
        while True:
            started = self._clock()
            try:
                if self._version is None:
                    self._version = await self._list()
                await self._watch(self._version)
            except ClusterError as error:
                if self._clock() - started > _MOST_BACKOFF_SECONDS:
                    self._failures = 0  # it went well for a while
                self._note(error)
                await asyncio.sleep(self._pause())
            else:
                # It is not asked in a tight loop either.
                if self._clock() - started < _SHORT_SECONDS:
                    await asyncio.sleep(_SHORT_SECONDS)

    async def _list(self) -> str:
        """Fill the table; the version from which to watch on."""
        jobs: list[HeldJob] = []
        after = ""
        for _ in range(_MOST_PAGES):
            found = await self._cluster.page(KIND, self.namespace, limit=_PAGE, after=after)
            jobs += [job for job in map(_read, found.get("items") or ()) if job is not None]
            after = str(found["metadata"].get("continue") or "")
            if not after:
                break
        else:
            log.error("only the first %d jobs are shown", len(jobs))
        self._table.replace(self.namespace, jobs)
        self._heard()
        self.listed = True
        return str(found["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> None:
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311 - so that replicas do not all come at once
        events = self._cluster.watch(
            KIND, self.namespace, version, seconds=seconds, silence=_SILENCE_SECONDS
        )
        async with aclosing(events):
            async for event in events:
                self._take(event["type"], event["object"])

    def _take(self, kind: str, found: Mapping[str, Any]) -> None:
        self._version = str(found["metadata"]["resourceVersion"])
        self._heard()
        self._failures = 0
        if kind == "DELETED":
            self._table.remove(found["metadata"]["namespace"], found["metadata"]["name"])
        elif kind in ("ADDED", "MODIFIED"):
            job = _read(found)
            if job is not None:
                self._table.put(job)

    def _heard(self) -> None:
        self._heard_at = self._clock()
        self.refused = False

    def _note(self, error: ClusterError) -> None:
        self._failures += 1
        expired = error.status == 410
        if expired:
            self._version = None
        metrics.WATCH_RESTARTS.labels("expired" if expired else "failed").inc()
        if error.status in _FORBIDDEN and not self.refused:
            self.refused = True
            self._version = None
            # What may not be read is not shown from memory either.
            self._table.replace(self.namespace, ())
        level = logging.INFO if expired else logging.WARNING
        log.log(
            level,
            "the watch of jobs broke: %s",
            error,
            extra={"namespace": self.namespace or "all"},
        )

    def _pause(self) -> float:
        most = min(_BACKOFF_SECONDS * 2.0 ** min(self._failures - 1, 10), _MOST_BACKOFF_SECONDS)
        return most * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def _read(document: Mapping[str, Any]) -> HeldJob | None:
    """None for what cannot be understood, so that one job never hides the others."""
    try:
        return held_of(JobResource(document))
    except (ValueError, TypeError, KeyError, AttributeError):
        log.exception("a job cannot be read: %s", (document.get("metadata") or {}).get("name"))
        return None
