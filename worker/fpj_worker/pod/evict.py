"""`fpj-worker evict`: look whether a cache folder can be used, and evict what its policy says."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from fpj_core.errors import LeaseHeldError, ManifestError, PolicyError
from fpj_core.folders.base import FolderConfig
from fpj_core.formatting import size
from fpj_core.kube.folderreport import Amount, FolderReport
from fpj_core.kube.records import folder_record
from fpj_core.manifest import parse_resource
from fpj_core.model import Folder
from fpj_core.policies import has_policy
from fpj_core.policy import Shortfall
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import CacheFolder
from fpj_worker.eviction import Evicted, Evictor
from fpj_worker.foldercheck import check_folder
from fpj_worker.locking import LEASE_SECONDS
from fpj_worker.places import folder_config
from fpj_worker.pod.task import keys_from, parsed_task
from fpj_worker.stopping import Stop

_MOST_NAMED = 3
_POLL_SECONDS = 5.0
_MOST_WAIT_SECONDS = 1.5 * LEASE_SECONDS

log = logging.getLogger("fpj.worker")


@dataclass(frozen=True, slots=True)
class FolderTask:
    """The work of the pod."""

    config: FolderConfig
    record: Folder
    namespace: str
    name: str
    pod: str

    @property
    def about(self) -> dict[str, object]:
        """What every line of the pod's log says beside its event."""
        return {"namespace": self.namespace, "folder": self.name}


class _Document(BaseModel):
    """FPJ_TASK, as the operator writes it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    folder: dict[str, Any]


def read_folder_task(environment: Mapping[str, str]) -> FolderTask:
    """Raises `ManifestError`."""
    return folder_task(parsed_task(_Document, environment).folder, environment)


def folder_task(document: object, environment: Mapping[str, str]) -> FolderTask:
    """Of a CacheFolder as FPJ_TASK has it. Raises `ManifestError`."""
    folder = parse_resource(document)
    if not isinstance(folder, CacheFolder) or not folder.metadata.namespace:
        raise ManifestError(["FPJ_TASK: folder is not a CacheFolder of a namespace"])
    if folder.spec.storage.local:
        raise ManifestError(
            ["local exists only for `fpj run`; in a cluster use persistentVolumeClaim or s3"]
        )
    return FolderTask(
        config=folder_config(
            folder,
            Path(environment.get("FPJ_CACHE_ROOT", "/cache")),
            keys_from(environment, "FOLDER"),
        ),
        record=folder_record(folder),
        namespace=folder.metadata.namespace,
        name=folder.metadata.name,
        pod=environment.get("POD_NAME") or socket.gethostname(),
    )


def run_evict(task: FolderTask, store: Store, stop: Stop) -> str:
    """Check and evict; the termination message. Raises as `check_folder` and `Evictor.run` do."""
    folder = task.config.build()
    drift = check_folder(store, folder, task.record)
    if drift is not None:
        log.error("the cache folder is not used", extra={"reason": drift[0], "said": drift[1]})
        return FolderReport(drift).message()
    if not has_policy(task.record):
        return FolderReport().message()
    evictor = Evictor(store, folder, task.record, stop.check)
    began = time.monotonic()
    try:
        report = _report(_evicted(evictor, stop))
    # Nothing was removed.
    except (PolicyError, LeaseHeldError) as error:
        log.warning("nothing is evicted: %s", error)
        used = store.folder_totals(task.record.name)[1]
        report = FolderReport(
            used_before=used,
            used_after=used,
            over=evictor.needed(),
            shortfalls=(str(error) or type(error).__name__,),
        )
    report = replace(report, seconds=round(time.monotonic() - began, 3))
    log.info("checked", extra=asdict(report))
    return report.message()


def _evicted(evictor: Evictor, stop: Stop) -> Evicted:
    """Evict, once nobody else does. Raises as `Evictor.run` does.

    The lease of an eviction that was killed lapses, and nobody else finishes what that has started.
    """
    until = time.monotonic() + _MOST_WAIT_SECONDS
    while True:
        try:
            return evictor.run()
        except LeaseHeldError as held:
            if time.monotonic() >= until:
                raise
            log.info("waiting for the holder", extra={"holder": held.holder})
        stop.check()
        time.sleep(_POLL_SECONDS)


def _report(evicted: Evicted) -> FolderReport:
    removed = evicted.removed
    short = [_sentence(each) for each in evicted.shortfalls]
    short += [f"{path}: {why}" for path, why in removed.troubles.items()]
    over = evicted.high is not None and evicted.used_after > evicted.high
    if (over or short) and evicted.busy:
        some = ", ".join(evicted.busy[:_MOST_NAMED])
        short.append(f"jobs work on {len(evicted.busy)} collections: {some}")
    return FolderReport(
        evicted=True,
        by_reason={
            reason.value: Amount(files, removed.bytes_by_reason.get(reason, 0))
            for reason, files in removed.by_reason.items()
        },
        used_before=evicted.used_before,
        used_after=evicted.used_after,
        over=over,
        shortfalls=tuple(short),
    )


def _sentence(short: Shortfall) -> str:
    """Such as ``OverTierQuota of full: 3.0 MiB too much; Pinned 1.2 MiB, Busy 2.4 MiB``."""
    kept = ", ".join(f"{why.value} {size(held)}" for why, held in short.kept.items())
    name = f" of {short.name}" if short.name else ""
    return f"{short.limit.value}{name}: {size(short.short_by)} too much; {kept}"
