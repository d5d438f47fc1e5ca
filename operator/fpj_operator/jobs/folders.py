"""The cache folders of a namespace, from memory: many jobs ask for the same few."""

from __future__ import annotations

import asyncio
import time

from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document

_KEPT_SECONDS = 5.0


class Folders:
    """Lists each namespace's folders at most every few seconds.

    At once when one of them changed.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._listed: dict[str, tuple[float, asyncio.Task[list[Document]]]] = {}

    def changed(self, namespace: str) -> None:
        """What is known of the namespace is out of date."""
        self._listed.pop(namespace, None)

    async def of(self, namespace: str) -> list[Document]:
        """All folders of a namespace; who asks at the same time waits for the same answer.

        Raises `ClusterError`.
        """
        now = time.monotonic()
        known = self._listed.get(namespace)
        if known is None or now - known[0] > _KEPT_SECONDS or _failed(known[1]):
            listing = asyncio.create_task(self._cluster.list("CacheFolder", namespace))
            known = self._listed[namespace] = (now, listing)
        return await asyncio.shield(known[1])


def _failed(listing: asyncio.Task[list[Document]]) -> bool:
    return listing.done() and (listing.cancelled() or listing.exception() is not None)
