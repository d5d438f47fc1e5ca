"""`fpj-worker remove`: remove what was made of a collection, but for the tiers that stay.

The job that it was made for was deleted with ``deletionPolicy: Delete``. The operator holds the
collection's lease meanwhile, and looks in the store afterwards whether anything is left.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict

from fpj_core.errors import EnvironmentFaultError
from fpj_core.formatting import count
from fpj_core.kube.names import requester_of
from fpj_core.model import RemovalReason
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import resolve_tiers
from fpj_worker.pod.task import Task
from fpj_worker.removal import Removed, Remover, asked_by
from fpj_worker.stopping import Stop

log = logging.getLogger("fpj.worker")


def run_removal(task: Task, store: Store, stop: Stop) -> None:
    """Make removals of all files in the tiers that do not stay, and remove those of this folder.

    Safe to repeat: what an earlier pod left is gone on with. Raises `EnvironmentFaultError` where
    files could not be removed.
    """
    folder, name = task.folder.build(), task.folder_record.name
    remover = Remover(store, folder, name, task.collection, stop.check)
    remover.start_tiers(_tiers(task, store), RemovalReason.DELETED, task.fence)
    _ask_for_nothing(task, store)
    # What others' outputs replaced is for their pods to remove.
    reasons = (RemovalReason.DELETED,) if task.keep else tuple(RemovalReason)
    removed = remover.finish(reasons=reasons)
    log.info("removed", extra=asdict(removed))
    if removed.troubles:
        raise EnvironmentFaultError(_trouble(removed))


def _tiers(task: Task, store: Store) -> Sequence[str]:
    """Tiers in which the collection has files, and that do not stay."""
    made = [tier for each in store.statistics(task.collection) for tier in each.by_tier]
    # The statistics leave out a collection all of whose images vanished.
    requested = [t for tiers in store.requested_tiers(task.collection).values() for t in tiers]
    asked = [tier.name for tier in resolve_tiers(task.job.spec)]
    return [tier for tier in dict.fromkeys([*made, *requested, *asked]) if tier not in task.keep]


def _ask_for_nothing(task: Task, store: Store) -> None:
    """A job that is deleted asks for no tier any more, nor do others where nothing is to stay:
    no file is kept for their sake later.
    """
    requested = store.requested_tiers(task.collection)
    own = asked_by(requester_of(task.job.metadata.model_dump()), resolve_tiers(task.job.spec))
    for who in own if task.keep else requested:
        if requested.get(who):
            store.record_requested_tiers(task.collection, who, (), task.fence)


def _trouble(removed: Removed) -> str:
    path, why = next(iter(removed.troubles.items()))
    number = len(removed.troubles)
    more = f", and so are others: {count(number)} in all, or more" if number > 1 else ""
    return f"files cannot be removed: {path}: {why}{more}"
