"""Cache folders and schedules: few, changed seldom,
so listed when asked for and remembered for some seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from fpj_api.joinedcache import JoinedCache
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.events import Event, event_of

FOLDER, SCHEDULE, PURGE = "CacheFolder", "FileProcessingSchedule", "CachePurge"
_SECONDS = 5.0
_EVENT_SECONDS = 10.0
"""A page reads a running job every few seconds; its events are no more urgent than that."""
_MOST_JOBS, _SHOWN_EVENTS = 100, 100
_PAGE = 500
_MOST_PAGES = 20

log = logging.getLogger("fpj.api")


class Lists:
    """Lists of the namespaces that are served; all if none is named."""

    def __init__(self, cluster: Cluster, served: Sequence[str]) -> None:
        self._cluster, self._served = cluster, served
        self._kept: JoinedCache[str, list[Document]] = JoinedCache(
            _SECONDS, 2, failures=(ClusterError,)
        )
        self._events: JoinedCache[str, list[Event]] = JoinedCache(
            _EVENT_SECONDS, _MOST_JOBS, failures=(ClusterError,)
        )

    async def all(self, kind: str) -> list[Document]:
        """Every object of a kind, 10,000 of a namespace at most. Raises `ClusterError`."""
        return await self._kept.get(kind, lambda: self._list(kind))

    async def within(self, kind: str, namespace: str) -> list[Document]:
        """Every object of a kind in one namespace, 10,000 at most, as it is now. Raises
        `ClusterError`.
        """
        return await self._pages(kind, namespace, "")

    async def labelled(self, kind: str, labels: str) -> list[Document]:
        """Every object that a label selector selects, as it is now. Raises `ClusterError`."""
        return await self._list(kind, labels)

    async def events(self, namespace: str, uid: str) -> list[Event]:
        """The newest events about an object, in order of time. Raises `ClusterError`."""
        return await self._events.get(uid, lambda: self._list_events(namespace, uid))

    async def _list_events(self, namespace: str, uid: str) -> list[Event]:
        page = await self._cluster.page(
            "Event", namespace, limit=_PAGE, fields=f"involvedObject.uid={uid}"
        )
        return sorted(map(event_of, page.get("items") or ()), key=lambda event: event.at)[
            -_SHOWN_EVENTS:
        ]

    async def _list(self, kind: str, labels: str = "") -> list[Document]:
        if not self._served:
            return await self._pages(kind, None, labels)
        found = await asyncio.gather(
            *(self._served_pages(kind, namespace, labels) for namespace in self._served)
        )
        return [document for some in found for document in some]

    async def _served_pages(self, kind: str, namespace: str, labels: str) -> list[Document]:
        """A namespace that may not be read stops no other."""
        try:
            return await self._pages(kind, namespace, labels)
        except ClusterError as error:
            if error.status != 403:
                raise
            log.warning("namespace %s is left out: %s", namespace, error)
            return []

    async def _pages(self, kind: str, namespace: str | None, labels: str) -> list[Document]:
        found: list[Document] = []
        after = ""
        for _ in range(_MOST_PAGES):
            page = await self._cluster.page(
                kind, namespace, limit=_PAGE, after=after, labels=labels
            )
            found += page.get("items") or ()
            after = str(page["metadata"].get("continue") or "")
            if not after:
                break
        return found
