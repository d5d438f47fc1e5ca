"""The lock of a collection, or of a folder's eviction, held by a process of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fpj_core.errors import LeaseHeldError
from fpj_core.kube.names import lease_name
from fpj_core.leases import is_dead, local_holder
from fpj_core.model import Lease
from fpj_core.store.protocol import Store

LEASE_SECONDS = 60.0
_RENEW_SECONDS = 5.0


def take_lock(
    store: Store, collection: str, who: str, named: Callable[[str], str] = lease_name
) -> Lease:
    """Take the collection's lease for ``who``, say a job's id.

    One that a dead process of this machine holds is broken first. ``named`` gives the lease's name.
    Raises `LeaseHeldError`.
    """
    name, holder = named(collection), local_holder(who)
    try:
        return store.acquire_lease(name, holder, LEASE_SECONDS, store.now())
    except LeaseHeldError as held:
        if not is_dead(held.holder):
            raise
        store.break_lease(name, held.holder)
        return store.acquire_lease(name, holder, LEASE_SECONDS, store.now())


class Lock:
    """A lock that is held, to be renewed every few seconds."""

    def __init__(self, store: Store, lease: Lease) -> None:
        self._store = store
        self._renewed_at = time.monotonic()
        self.lease = lease

    @property
    def fence(self) -> int:
        """Of the lease: what writes under it names."""
        return self.lease.fence

    def renew(self, *, at_once: bool = False) -> None:
        """Renew the lease if that is due, or ``at_once``. Raises `FencedError` if it was taken
        over.
        """
        now = time.monotonic()
        if at_once or now - self._renewed_at >= _RENEW_SECONDS:
            self.lease = self._store.renew_lease(self.lease, LEASE_SECONDS, self._store.now())
            self._renewed_at = now


@contextmanager
def locked(
    store: Store, collection: str, who: str, named: Callable[[str], str] = lease_name
) -> Iterator[Lock]:
    """Hold the collection's lock. Raises `LeaseHeldError`."""
    lock = Lock(store, take_lock(store, collection, who, named))
    try:
        yield lock
    finally:
        store.release_lease(lock.lease)
