"""`fpj-worker verify`: compare a cache folder with what is recorded of it, and repair if asked."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from fpj_core.folders.comparing import Difference
from fpj_core.kube.folderreport import FolderReport, Verification
from fpj_core.store.protocol import Store
from fpj_worker.foldercheck import check_folder
from fpj_worker.inventory import Inventory, take_inventory
from fpj_worker.pod.evict import FolderTask, folder_task
from fpj_worker.pod.task import parsed_task
from fpj_worker.stopping import Stop

_MOST_LOGGED = 10_000

log = logging.getLogger("fpj.worker")


@dataclass(frozen=True, slots=True)
class VerifyTask:
    """The work of the pod."""

    folder: FolderTask
    repair: bool

    @property
    def about(self) -> dict[str, object]:
        """What every line of the pod's log says beside its event."""
        return self.folder.about


class _Document(BaseModel):
    """FPJ_TASK, as the operator writes it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    folder: dict[str, Any]
    repair: bool


def read_verify_task(environment: Mapping[str, str]) -> VerifyTask:
    """Raises `ManifestError`."""
    document = parsed_task(_Document, environment)
    return VerifyTask(folder_task(document.folder, environment), document.repair)


def run_verify(task: VerifyTask, store: Store, stop: Stop) -> str:
    """Check and compare; the termination message. Raises as `check_folder` and `take_inventory`.

    Safe to repeat: a repair that ended early is gone on with.
    """
    folder, record = task.folder.config.build(), task.folder.record
    drift = check_folder(store, folder, record)
    if drift is not None:
        log.error("the cache folder is not used", extra={"reason": drift[0], "said": drift[1]})
        return FolderReport(drift).message()
    began = time.monotonic()
    verification = Verification(task.repair)
    if any(each.name == record.name for each in store.folders()):
        found = take_inventory(
            store,
            folder,
            record.name,
            lambda _so_far: stop.check(),
            repair=task.repair,
            on_found=_Said(),
        )
        verification = _verification(found, repair=task.repair)
    log.info("compared", extra=asdict(verification))
    seconds = round(time.monotonic() - began, 3)
    return FolderReport(seconds=seconds, verification=verification).message()


class _Said:
    """Logs differences, the first of them."""

    def __init__(self) -> None:
        self._logged = 0

    def __call__(self, found: Difference) -> None:
        self._logged += 1
        if self._logged <= _MOST_LOGGED:
            log.info("differs", extra={"kind": found.kind.value, "path": found.path})


def _verification(found: Inventory, *, repair: bool) -> Verification:
    tallies = found.kinds.values()
    marker = (found.marker,) if found.marker else ()
    return Verification(
        repair=repair,
        compared=found.compared,
        kinds={kind.value: tally.files for kind, tally in found.kinds.items()},
        repaired=sum(tally.repaired for tally in tallies),
        young=found.young,
        left=found.left,
        busy=tuple(found.busy),
        troubles=(*marker, *found.troubles),
        names=tuple(name for tally in tallies for name in tally.names),
    )
