"""A pod's source and cache folder: whether they work, and whether they are the right ones."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fpj_core.errors import (
    CacheFolderError,
    EnvironmentFaultError,
    FolderLostError,
    FpjError,
    ImageError,
    SourceError,
    SourceShrankError,
)
from fpj_core.model import Job
from fpj_core.paths import own_folders
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import resolve_tiers
from fpj_worker.pod.task import Task
from fpj_worker.probe import Probe, may_heal


def own_of(task: Task) -> Sequence[str]:
    """The folders right below the cache folder that the job writes to."""
    tiers = [tier.name for tier in resolve_tiers(task.job.spec)]
    return own_folders(task.folder_record.layout, task.collection, tiers)


def probe_of(task: Task, store: Store) -> Probe:
    """Asks whether the job's source and cache folder work."""
    return Probe(store, task.source, task.folder, task.collection, own_of(task)[0])


@contextmanager
def healing(job: Job, attempt: int) -> Iterator[None]:
    """What source or cache folder refuse is an `EnvironmentFaultError` where they may work again by
    themselves.

    They did work for a job that was planned before. An attempt that goes on with such a job (a
    recovery, a changed spec, the end of a suspension) does not take an empty mount point for the
    end of its images either: nobody has restarted the job, and whoever did would see the error at
    once. A cache folder that is read-only is waited for from the first attempt on, other than by
    `fpj run`: systems make it so while a disk or server fails over, and here nobody watches the
    run.
    """
    known = job.planned_attempt > 0
    goes_on = known and attempt > job.begun_attempt
    try:
        yield
    except (SourceShrankError, FolderLostError) as error:
        if goes_on:
            raise EnvironmentFaultError(str(error)) from error
        raise
    except (SourceError, CacheFolderError, ImageError) as error:
        if may_heal(error, known=known) or _is_read_only(error):
            raise EnvironmentFaultError(str(error)) from error
        raise


def _is_read_only(error: FpjError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EROFS


def require_folder(task: Task) -> None:
    """Raise `EnvironmentFaultError` unless the cache folder that the plan was made for is there;
    else a pod would fill the mount point of a volume that is not mounted.
    """
    try:
        task.folder.build().require_marker()
    except (CacheFolderError, ImageError) as error:
        raise EnvironmentFaultError(str(error)) from error
