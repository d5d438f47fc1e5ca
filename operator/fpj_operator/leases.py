"""Leases: one per collection, one for the leader. Every change is checked against the version that was read.

A collection is locked twice. The Kubernetes Lease is what people see and what keeps two resources apart; the store's
lease gives the fence that every write to the store names, and keeps `fpj run` on the same store apart from the cluster.
The fence is shown as the Lease's ``leaseTransitions``. A released Lease stays, so that its number goes on rising.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fpj_core import names
from fpj_core.cluster import Cluster, ClusterError, Document
from fpj_core.errors import LeaseHeldError
from fpj_core.leases import lease_name
from fpj_core.model import Lease
from fpj_core.store.protocol import Store
from fpj_operator.conditions import seconds_of
from fpj_operator.state import Key, LeaseView

_HOLDER_NAME = f"{names.GROUP_PREFIX}/holder"
_COLLECTION = f"{names.GROUP_PREFIX}/collection"
_WRITING_SECONDS = 0.3
"""Between the two leases of one holder; more than enough."""
_TRIES = 5
"""Of a write against others who write to the Lease too."""

log = logging.getLogger("fpj.leases")


async def look(cluster: Cluster, namespace: str, collection: str) -> tuple[LeaseView, Document | None]:
    """A collection's lease as it stands, and its document."""
    found = await cluster.get("Lease", namespace, lease_name(collection))
    return _view(found), found


async def acquire(cluster: Cluster, store: Store, key: Key, uid: str, collection: str, *, seconds: float) -> LeaseView:
    """Take the lease or renew one's own; the lease as it stands then, whoever holds it.

    Raises `StoreError` and `ClusterError`.
    """
    view, found = await look(cluster, key.namespace, collection)
    now = time.time()
    if view.held_by_another(uid, now):
        return view
    name = lease_name(collection)
    try:
        stored = await asyncio.to_thread(store.acquire_lease, name, uid, seconds, now)
    except LeaseHeldError as held:
        return await _named(cluster, key.namespace, collection, held)
    for _ in range(_TRIES):
        written = await _write(cluster, key, uid, collection, found, stored, seconds)
        if written is not None:
            return _view(written)
        view, found = await look(cluster, key.namespace, collection)
        if view.held_by_another(uid, time.time()):  # its own attempt at the store's lease fails against ours
            await asyncio.to_thread(store.release_lease, stored)
            return view
    # The store's lease stays: to give it back would fence the workers of a job that only renews its own.
    raise ClusterError(409, f"the Lease of {collection} is changed by others all the time")


async def renew_without_store(cluster: Cluster, key: Key, uid: str, collection: str, *, seconds: float) -> LeaseView:
    """Renew one's own Kubernetes Lease while the store is away; the lease as it stands then. Raises `ClusterError`.

    The store's lease may run out meanwhile. Once the store is back, `acquire` finds out whether somebody took it.
    """
    for _ in range(_TRIES):
        view, found = await look(cluster, key.namespace, collection)
        if found is None or not view.held_by(uid, time.time()):
            return view
        found["spec"] |= {"renewTime": precise(time.time()), "leaseDurationSeconds": round(seconds)}
        if (written := await cluster.replace(found)) is not None:
            return _view(written)
    raise ClusterError(409, f"the Lease of {collection} is changed by others all the time")


async def _named(cluster: Cluster, namespace: str, collection: str, held: LeaseHeldError) -> LeaseView:
    """Who holds the store's lease: a resource that is about to write its Lease too, with its name, or `fpj run`."""
    await asyncio.sleep(_WRITING_SECONDS)
    view, _ = await look(cluster, namespace, collection)
    return view if view.holder == held.holder else LeaseView(held.holder, held.holder, 0, held.expires_at)


async def release(cluster: Cluster, store: Store, namespace: str, uid: str, collection: str) -> None:
    """Give the lease back, if it is this job's. The store's goes first: the next holder needs both."""
    await asyncio.to_thread(store.break_lease, lease_name(collection), uid)
    for _ in range(_TRIES):
        view, found = await look(cluster, namespace, collection)
        if found is None or view.holder != uid:
            return
        found["spec"] |= {"holderIdentity": "", "renewTime": precise(time.time())}
        if await cluster.replace(found) is not None:
            return
    log.warning("the Lease of %s is changed by others all the time: it lapses by itself", collection)


async def _write(
    cluster: Cluster, key: Key, uid: str, collection: str, found: Document | None, stored: Lease, seconds: float
) -> Document | None:
    now = precise(time.time())
    spec: dict[str, Any] = {
        "holderIdentity": uid,
        "leaseDurationSeconds": round(seconds),
        "renewTime": now,
        "leaseTransitions": stored.fence,
    }
    notes = {_HOLDER_NAME: key.name, _COLLECTION: collection}
    if found is not None:
        same = found["spec"].get("holderIdentity") == uid
        spec["acquireTime"] = (same and found["spec"].get("acquireTime")) or now
        found["spec"] = spec
        found["metadata"].setdefault("annotations", {}).update(notes)
        return await cluster.replace(found)
    metadata = {
        "name": lease_name(collection),
        "namespace": key.namespace,
        "labels": names.MANAGED_BY,
        "annotations": notes,
    }
    manifest = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}
    return await cluster.create(manifest | {"spec": spec | {"acquireTime": now}})


def _view(found: Document | None) -> LeaseView:
    if found is None:
        return LeaseView()
    spec = found.get("spec", {})
    expires = expiry(spec)
    holder_name = found["metadata"].get("annotations", {}).get(_HOLDER_NAME, "")
    return LeaseView(spec.get("holderIdentity") or "", holder_name, spec.get("leaseTransitions", 0), expires)


def expiry(spec: Mapping[str, Any]) -> float:
    """When a Lease that is not renewed ends."""
    return seconds_of(spec.get("renewTime")) + float(spec.get("leaseDurationSeconds", 0))


def precise(seconds: float) -> str:
    """RFC 3339 with microseconds, as the Lease API wants it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
