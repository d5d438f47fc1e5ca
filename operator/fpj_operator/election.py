"""Leader election: of several operators one works, by a Lease in the operator's own namespace.

A leader that cannot renew its lease in time ends its process: what it may still have in hand stops with it.
"""

from __future__ import annotations

import asyncio
import logging
import time

from fpj_core import names
from fpj_core.cluster import Cluster, ClusterError, Document
from fpj_operator.leases import expiry, precise

_NAME = "fpj-operator"

log = logging.getLogger("fpj.election")


class Election:
    """One candidate. ``seconds`` is how long a silent leader keeps its place; it renews three times in that time."""

    def __init__(self, cluster: Cluster, namespace: str, identity: str, seconds: float) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self.identity = identity
        self._seconds = seconds
        self._renewed_at = 0.0

    async def win(self) -> None:
        """Wait until this candidate leads."""
        while not await self._try():
            await asyncio.sleep(self._seconds / 5)
        log.info("leading", extra={"identity": self.identity})

    async def hold(self) -> None:
        """Renew until that fails for too long; then return, and the process must end."""
        while time.monotonic() - self._renewed_at < self._seconds * 2 / 3:
            await asyncio.sleep(self._seconds / 5)
            if not await self._try() and await self._taken():
                break
        log.error("leadership lost", extra={"identity": self.identity})

    async def resign(self) -> None:
        """Let the next one lead at once."""
        found = await self._cluster.get("Lease", self._namespace, _NAME)
        if found and found["spec"].get("holderIdentity") == self.identity:
            found["spec"]["holderIdentity"] = ""
            await self._cluster.replace(found)

    async def _try(self) -> bool:
        began = time.monotonic()
        try:
            found = await self._cluster.get("Lease", self._namespace, _NAME)
            won = await self._claim(found)
        except ClusterError as error:
            log.warning("the lease cannot be reached: %s", error)
            return False
        if won:
            self._renewed_at = began
        return won

    async def _claim(self, found: Document | None) -> bool:
        now = precise(time.time())
        spec = {"holderIdentity": self.identity, "leaseDurationSeconds": round(self._seconds), "renewTime": now}
        if found is None:
            metadata = {"name": _NAME, "namespace": self._namespace, "labels": names.MANAGED_BY}
            manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
            return await self._cluster.create(manifest | {"spec": spec | {"acquireTime": now}}) is not None
        held = found["spec"].get("holderIdentity")
        if held and held != self.identity and expiry(found["spec"]) >= time.time():
            return False
        if held != self.identity:
            spec |= {"acquireTime": now, "leaseTransitions": found["spec"].get("leaseTransitions", 0) + 1}
        found["spec"] |= spec
        return await self._cluster.replace(found) is not None

    async def _taken(self) -> bool:
        try:
            found = await self._cluster.get("Lease", self._namespace, _NAME)
        except ClusterError:
            return False
        holder = str(found["spec"].get("holderIdentity") or "") if found else ""
        return holder not in ("", self.identity)
