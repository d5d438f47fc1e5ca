"""Leader election: of several operators one works, by a Lease in the operator's own namespace.

By the rules of client-go. A candidate takes the Lease once it has itself seen it unchanged for as
long as it lasts; what another host's clock said is never asked. A leader that could not renew it
for two thirds of that time stops, on its own clock: it sends no write any more, and its process
ends. So one has stopped before the next begins, also where the network holds back packets, and
however the machines' clocks are set.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from fpj_core.formatting import precise
from fpj_core.kube import names
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_operator.sightings import Sightings, steady

_NAME = "fpj-operator"
_LEADS_FOR = 2 / 3
"""Part of the lease after which a leader that cannot renew it stops."""
_BETWEEN, _AGAIN = 1 / 5, 1 / 15
"""Parts of the lease: between renewals, and before another try after one that failed."""
REQUEST = 1 / 5
"""Part of the lease that one request of the election may take."""

log = logging.getLogger("fpj.election")


class Election:
    """One candidate.

    Args:
        cluster: a client of the election's own, whose requests take `REQUEST` of the lease at most,
            without retries.
        namespace: where the Lease is.
        identity: of this process, which no other ever has.
        seconds: how long a silent leader keeps its place; the same for all candidates.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        identity: str,
        seconds: float,
        clock: Callable[[], float] = steady,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self.identity = identity
        self._seconds = seconds
        self._clock = clock
        self._sightings = Sightings(clock)
        self._leads_until = float("-inf")
        self._other_leads = False
        self.took_over_after: float | None = None
        """Seconds from when the lease of a silent leader was seen to change for the last time to
        this one's claim.
        """

    @property
    def leads(self) -> bool:
        """Whether this candidate may act as the leader: nobody else can lead yet."""
        return self._clock() < self._leads_until

    async def win(self) -> None:
        """Wait until this candidate leads."""
        while not (await self._try() and self.leads):
            await asyncio.sleep(self._seconds * _BETWEEN)
        log.info("leading", extra={"identity": self.identity})

    async def hold(self) -> None:
        """Renew in time; return when that failed or another leads.

        The process must end at once then.
        """
        with contextlib.suppress(TimeoutError):
            while not self._other_leads:
                async with asyncio.timeout(self._leads_until - self._clock()):
                    await self._renew()
        self._leads_until = float("-inf")
        log.error("leadership lost", extra={"identity": self.identity})

    async def _renew(self) -> None:
        """Until it is done or another leads."""
        await asyncio.sleep(self._seconds * _BETWEEN)
        while not await self._try() and not self._other_leads:
            await asyncio.sleep(self._seconds * _AGAIN)

    async def resign(self) -> None:
        """Stop, and let the next one lead at once. Raises `ClusterError`."""
        self._leads_until = float("-inf")
        found = await self._cluster.get("Lease", self._namespace, _NAME)
        if found and found["spec"].get("holderIdentity") == self.identity:
            found["spec"]["holderIdentity"] = ""
            await self._cluster.replace(found)

    async def _try(self) -> bool:
        began = self._clock()  # what the answer takes counts, too
        try:
            found = await self._cluster.get("Lease", self._namespace, _NAME)
            won = await self._claim(found)
        except ClusterError as error:
            log.warning("the lease cannot be reached: %s", error)
            return False
        if won:
            self._leads_until = began + self._seconds * _LEADS_FOR
        return won

    def _is_only_just_gone(self) -> bool:
        """Whether a Lease that was another's has been deleted: its holder makes it again,
        and may lead until then.
        """
        known = not self.leads and self._sightings.knows(_NAME)
        return known and self._sightings.left(_NAME, {}, self._seconds) > 0

    async def _claim(self, found: Document | None) -> bool:
        """Take the Lease if it is free or ours; whether it is ours then."""
        # For people and for those who see it change; nobody compares it with a clock.
        now = precise(time.time())
        spec = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self._seconds),
            "renewTime": now,
        }
        self._other_leads = False
        if found is None:
            if self._is_only_just_gone():
                return False
            metadata = {"name": _NAME, "namespace": self._namespace, "labels": names.MANAGED_BY}
            manifest = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": metadata,
            }
            if (
                await self._cluster.create(manifest | {"spec": spec | {"acquireTime": now}})
                is not None
            ):
                return True
            # Another leads; should its Lease be deleted, that is known.
            self._sightings.left(_NAME, {}, self._seconds)
            return False
        held = found["spec"].get("holderIdentity") or ""
        if (
            held not in ("", self.identity)
            and self._sightings.left(_NAME, found["spec"], self._seconds) > 0
        ):
            self._other_leads = True
            return False
        silent = self._sightings.stood(_NAME) if held not in ("", self.identity) else None
        if held != self.identity:
            spec |= {
                "acquireTime": now,
                "leaseTransitions": found["spec"].get("leaseTransitions", 0) + 1,
            }
        found["spec"] |= spec
        won = await self._cluster.replace(found) is not None
        if won and silent is not None:
            self.took_over_after = silent
        return won
