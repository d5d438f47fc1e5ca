"""Leases: one per collection, one for the leader.

Every change is checked against the version that was read.

A collection is locked twice. The Kubernetes Lease is what people see and what keeps two resources
apart; the store's lease gives the fence that every write to the store names, and keeps `fpj run` on
the same store apart from the cluster. The fence is shown as the Lease's ``leaseTransitions``. A
released Lease stays, so that its number goes on rising.

A Lease lapses when this process has seen it unchanged for as long as it lasts: the clock of whoever
renewed it is not asked. The store's lease lapses by the clocks of those who use the store, which
matters between a cluster and `fpj run`.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from fpj_core.errors import LeaseHeldError
from fpj_core.formatting import precise
from fpj_core.kube import names
from fpj_core.kube.api import CONFLICT, Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import lease_name
from fpj_core.model import Lease
from fpj_core.store.protocol import Store
from fpj_operator.jobs.state import LeaseView, Rejected
from fpj_operator.keys import Key
from fpj_operator.sightings import Sightings
from fpj_operator.storecalls import Check
from fpj_operator.storehealth import StoreHealth

HOLDER_NAME = f"{names.GROUP}/holder"
COLLECTION = f"{names.GROUP}/collection"
_WRITING_SECONDS = 0.3
"""Between the two leases of one holder; more than enough."""
_TRIES = 5
"""Of a write against others who write to the Lease too."""


class LeaseRefusedError(ClusterError):
    """The API server refuses the Lease of a job that does not hold it yet: a quota, a policy,
    a webhook.
    """

    def __init__(self, name: str, error: ClusterError) -> None:
        super().__init__(error.status, str(error), error.retry_after, error.causes, error.reason)
        self.rejected = Rejected("Lease", name, error.status, str(error), error.retry_after)


class Leases:
    """The leases of all collections that this operator has to do with.

    Args:
        health: by which the store is asked. What is asked about leases may be carried out late.
            Then it comes before all else that this operator asks for the same job; it lasts only as
            long as it would have; and it does nothing to a lease that is another's by now, except
            that such a holder finds its own one refused.
        seconds: how long one lasts that is not renewed.
        sightings: by whose clock one lapses.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        health: StoreHealth,
        seconds: float,
        sightings: Sightings | None = None,
    ) -> None:
        self._cluster = cluster
        self._store = store
        self._health = health
        self._seconds = seconds
        self._sightings = sightings or Sightings()

    async def look(self, namespace: str, collection: str) -> tuple[LeaseView, Document | None]:
        """A collection's lease as it stands, and its document. Raises `ClusterError`."""
        found = await self._cluster.get("Lease", namespace, lease_name(collection))
        return self._view(namespace, collection, found), found

    async def acquire(self, key: Key, uid: str, collection: str, *, above: int = 0) -> LeaseView:
        """Take the lease or renew one's own; the lease as it stands then, whoever holds it.

        ``above`` is the fence of the job's latest attempt where another one is to start: its fence
        is greater. Raises `StoreError` and `ClusterError`; `LeaseRefusedError` where trying again
        at once cannot help.
        """
        view, found = await self.look(key.namespace, collection)
        if view.held_by_another(uid, time.time()):
            return view
        try:
            stored = await self._acquire_stored(view, lease_name(collection), uid, above)
        except LeaseHeldError as held:
            return await self._named(key.namespace, collection, held)
        for _ in range(_TRIES):
            try:
                written = await self._write(key, uid, collection, found, stored)
            except ClusterError as error:
                if error.status and view.holder != uid:
                    await self._refused(error, stored)
                raise
            if written is not None:
                return replace(self._view(key.namespace, collection, written), renewed=True)
            view, found = await self.look(key.namespace, collection)
            # Its own attempt at the store's lease fails against ours.
            if view.held_by_another(uid, time.time()):
                await self._give_back(stored)
                return view
        # The store's lease stays: to give it back would fence the workers of a job that only renews
        # its own.
        raise ClusterError(409, f"the Lease of {collection} keeps being changed by others")

    async def _refused(self, error: ClusterError, stored: Lease) -> None:
        """The store's lease alone locks nothing for this job: others, such as `fpj run`,
        may have it meanwhile.
        """
        await self._give_back(stored)
        if error.reason != CONFLICT:  # which is over at once: others change the same quota
            raise LeaseRefusedError(stored.name, error) from error

    async def _give_back(self, stored: Lease) -> None:
        await self._health.ask(stored.holder, lambda _: self._store.release_lease(stored))

    async def _acquire_stored(self, view: LeaseView, name: str, uid: str, above: int) -> Lease:
        """The store's lease.

        Whose Lease has lapsed before our eyes has lost that too, whenever its clock says.
        """

        def acquire(check: Check) -> Lease:
            try:
                return self._store.acquire_lease(name, uid, self._seconds, self._store.now(), above)
            except LeaseHeldError as held:
                if held.holder != view.holder:
                    raise
                check()
                self._store.break_lease(name, held.holder)
                return self._store.acquire_lease(name, uid, self._seconds, self._store.now(), above)

        return await self._health.ask(uid, acquire)

    async def renew_without_store(self, key: Key, uid: str, collection: str) -> LeaseView:
        """Renew one's own Kubernetes Lease while the store is away; the lease as it stands then.

        Raises `ClusterError`.

        The store's lease may run out meanwhile. Once the store is back, `acquire` finds out whether
        somebody took it.
        """
        for _ in range(_TRIES):
            view, found = await self.look(key.namespace, collection)
            if found is None or not view.held_by(uid, time.time()):
                return view
            found["spec"] |= {
                "renewTime": precise(time.time()),
                "leaseDurationSeconds": round(self._seconds),
            }
            if (written := await self._cluster.replace(found)) is not None:
                return self._view(key.namespace, collection, written)
        raise ClusterError(409, f"the Lease of {collection} keeps being changed by others")

    async def _named(self, namespace: str, collection: str, held: LeaseHeldError) -> LeaseView:
        """Who holds the store's lease: a resource that is about to write its Lease too,
        with its name, or `fpj run`.
        """
        await asyncio.sleep(_WRITING_SECONDS)
        view, _ = await self.look(namespace, collection)
        if view.holder == held.holder:
            return view
        return LeaseView(held.holder, held.holder, 0, time.time() + self._seconds)

    async def release(self, namespace: str, uid: str, collection: str) -> None:
        """Give the lease back, if it is this job's.

        The store's goes first: the next holder needs both.

        Raises `StoreError` and `ClusterError`.
        """
        await self._health.ask(uid, lambda _: self._store.break_lease(lease_name(collection), uid))
        for _ in range(_TRIES):
            view, found = await self.look(namespace, collection)
            if found is None or view.holder != uid:
                return
            found["spec"] |= {"holderIdentity": "", "renewTime": precise(time.time())}
            if await self._cluster.replace(found) is not None:
                return
        raise ClusterError(409, f"the Lease of {collection} keeps being changed by others")

    async def _write(
        self, key: Key, uid: str, collection: str, found: Document | None, stored: Lease
    ) -> Document | None:
        now = precise(time.time())
        spec: dict[str, Any] = {
            "holderIdentity": uid,
            "leaseDurationSeconds": round(self._seconds),
            "renewTime": now,
            "leaseTransitions": stored.fence,
        }
        notes = {HOLDER_NAME: key.name, COLLECTION: collection}
        if found is not None:
            same = found["spec"].get("holderIdentity") == uid
            spec["acquireTime"] = (same and found["spec"].get("acquireTime")) or now
            found["spec"] = spec
            found["metadata"].setdefault("annotations", {}).update(notes)
            return await self._cluster.replace(found)
        metadata = {
            "name": lease_name(collection),
            "namespace": key.namespace,
            "labels": names.MANAGED_BY,
            "annotations": notes,
        }
        manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
        return await self._cluster.create(manifest | {"spec": spec | {"acquireTime": now}})

    def _view(self, namespace: str, collection: str, found: Document | None) -> LeaseView:
        """With the time at which it lapses by this machine's clocks alone."""
        at = (namespace, collection)
        spec = found.get("spec", {}) if found else {}
        holder = spec.get("holderIdentity") or ""
        if found is None or not holder:
            self._sightings.forget(at)
            return LeaseView(fence=spec.get("leaseTransitions", 0))
        is_new = not self._sightings.knows(at)
        left = self._sightings.left(at, spec)
        # It may have been renewed long ago: whoever takes a job over from another leader renews it
        # soon.
        if is_new:
            left /= 2
        holder_name = found["metadata"].get("annotations", {}).get(HOLDER_NAME, "")
        return LeaseView(holder, holder_name, spec.get("leaseTransitions", 0), time.time() + left)
