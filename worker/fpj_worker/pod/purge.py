"""`fpj-worker purge`: remove at once what was made of some images, or of a whole collection."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fpj_core.errors import EnvironmentFaultError, LeaseHeldError, ManifestError
from fpj_core.formatting import count
from fpj_core.kube.names import images_variable
from fpj_core.kube.purgereport import MOST_RECEIPT, MOST_UNKNOWN, Notified, PurgeReport, Receipt
from fpj_core.store.protocol import Store
from fpj_worker.foldercheck import check_folder
from fpj_worker.locking import Lock, locked
from fpj_worker.pod.evict import FolderTask, folder_task
from fpj_worker.pod.task import parsed_task
from fpj_worker.purging import Purge, PurgedFile, known_images
from fpj_worker.stopping import Stop
from fpj_worker.webhook import TOKEN, Webhook

log = logging.getLogger("fpj.worker")


@dataclass(frozen=True, slots=True)
class Hook:
    """The folder's webhook. ``token`` is None where it wants none, and empty where that lacks."""

    url: str
    base_url: str
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PurgeTask:
    """The work of the pod. ``images`` are keys; None is all of the collection."""

    folder: FolderTask
    collection: str
    images: tuple[str, ...] | None
    hook: Hook | None

    @property
    def about(self) -> dict[str, object]:
        """What every line of the pod's log says beside its event."""
        return self.folder.about | {"collection": self.collection}


class _Document(BaseModel):
    """FPJ_TASK, as the operator writes it. ``parts`` is how many variables have keys of images."""

    model_config = ConfigDict(extra="forbid", strict=True)

    folder: dict[str, Any]
    collection: str = Field(min_length=1)
    parts: int | None = Field(ge=1, le=1_000)


def read_purge_task(environment: Mapping[str, str]) -> PurgeTask:
    """Raises `ManifestError`."""
    document = parsed_task(_Document, environment)
    images = None
    if document.parts is not None:
        images = tuple(key for part in range(document.parts) for key in _images(environment, part))
    return PurgeTask(
        folder=folder_task(document.folder, environment),
        collection=document.collection,
        images=images,
        hook=_hook(document.folder, environment),
    )


def _images(environment: Mapping[str, str], part: int) -> list[str]:
    name = images_variable(part)
    try:
        found = json.loads(environment.get(name, ""))
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ManifestError([f"{name} is not a list of keys"])
    return found


def _hook(folder: Mapping[str, Any], environment: Mapping[str, str]) -> Hook | None:
    """Of a manifest that `folder_task` has read."""
    said = folder["spec"].get("purgeWebhook")
    if said is None:
        return None
    token = environment.get(TOKEN, "") if said.get("secretRef") else None
    return Hook(said["url"], said["baseUrl"], token)


def run_purge(task: PurgeTask, store: Store, stop: Stop) -> str:
    """Check and purge; the termination message.

    Safe to repeat: what an earlier pod left is gone on with. Raises as `check_folder` and `Purge`
    do, and `EnvironmentFaultError` where files could not be removed.
    """
    folder, record = task.folder.config.build(), task.folder.record
    drift = check_folder(store, folder, record)
    if drift is not None:
        log.error("the cache folder is not used", extra={"reason": drift[0], "said": drift[1]})
        return PurgeReport(drift).message()
    receipts = _Receipts(task.hook)
    try:
        with locked(store, task.collection, f"purge-{uuid.uuid4()}") as lock:
            return _purge(task, store, stop, lock, receipts).message()
    except LeaseHeldError:
        log.info("a job works on the collection")
        return PurgeReport(held=True).message()


def _purge(
    task: PurgeTask, store: Store, stop: Stop, lock: Lock, receipts: _Receipts
) -> PurgeReport:
    purge = Purge(store, task.collection, lock, stop.check)
    name = task.folder.record.name
    ordinals: set[int] = set()
    unknown: Sequence[str] = ()
    if task.images is None:
        purge.mark_all(name)
    else:
        ordinals, unknown = known_images(store, task.collection, task.images)
        purge.mark_images(name, ordinals)
    removed = purge.finish(
        task.folder.config.build(),
        name,
        lambda purged: receipts.take(purged, purge),
        ordinals=ordinals,
        everything=task.images is None,
    )
    if removed.troubles:
        path, why = next(iter(removed.troubles.items()))
        more = f"; {count(len(removed.troubles))} or more in all" * (len(removed.troubles) > 1)
        raise EnvironmentFaultError(f"files cannot be removed: {path}: {why}{more}")
    return replace(
        receipts.report(), unknown=len(unknown), some_unknown=tuple(unknown[:MOST_UNKNOWN])
    )


class _Receipts:
    """Counts and logs what is removed, and tells the webhook."""

    def __init__(self, hook: Hook | None) -> None:
        self._report = PurgeReport()
        self._webhook: Webhook | None = None
        self._problem = ""
        if hook is not None:
            try:
                self._webhook = _webhook(hook)
            except ValueError as error:
                self._problem = str(error)
                log.warning("the webhook is not used: %s", error)

    def take(self, purged: Sequence[PurgedFile], purge: Purge) -> None:
        """Of a batch whose files are gone."""
        said = self._report
        for each in purged:
            extra = {"source": each.source, "tier": each.tier, "path": each.path}
            log.info("purged", extra=extra | {"bytes": each.bytes})
        room = MOST_RECEIPT - len(said.receipt)
        rows = tuple(Receipt(p.source, p.tier, p.path, p.bytes) for p in purged[:room])
        self._report = replace(
            said,
            files=said.files + len(purged),
            bytes=said.bytes + sum(each.bytes for each in purged),
            receipt=said.receipt + rows,
        )
        if self._webhook is not None:
            self._webhook.notify(purged, purge.tick)

    def report(self) -> PurgeReport:
        """What was removed, and what the webhook has accepted."""
        if self._webhook is not None:
            return replace(self._report, notified=self._webhook.notified)
        if self._problem:
            notified = Notified(failed=self._report.files, message=self._problem)
            return replace(self._report, notified=notified)
        return self._report


def _webhook(hook: Hook) -> Webhook:
    """Raises ValueError where it cannot be used."""
    if hook.token == "":
        raise ValueError("the Secret that purgeWebhook.secretRef names has no such key")
    return Webhook(hook.url, hook.base_url, hook.token)
