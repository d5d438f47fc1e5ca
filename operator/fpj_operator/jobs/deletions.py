"""Jobs that are being deleted with the files that they were made for: what is removed, by whom,
and what that waits for. See `fpj_operator.jobs.deletion` for the rules.

One look goes as far as it can and says in the job's condition ``FilesRemoved`` where it stands.
Each step may be done again; whether files are left says the store, not a pod's end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from fpj_core.errors import FencedError, ManifestError, StoreError
from fpj_core.formatting import count, seconds_of
from fpj_core.kube import names
from fpj_core.kube.api import Cluster
from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import lease_name
from fpj_core.kube.records import folder_name
from fpj_core.model import Phase
from fpj_core.process.logs import about
from fpj_core.store.protocol import Store
from fpj_core.v1alpha1 import CacheFolder, FileProcessingJob, resolve_tiers
from fpj_operator import events
from fpj_operator.conditionlist import condition
from fpj_operator.emit import Emit
from fpj_operator.jobs.conditions import attempt_from, same_status
from fpj_operator.jobs.deletion import (
    FILES_REMOVED,
    Left,
    OtherNotUnderstoodError,
    is_doomed,
    left_of,
    removing_status,
    tiers_of_others,
    understood,
    why_files_stay,
)
from fpj_operator.jobs.execute import with_files_finalizer
from fpj_operator.jobs.folders import Folders
from fpj_operator.jobs.leases import LeaseRefusedError, Leases
from fpj_operator.jobs.observe import parse_folder, pods_left
from fpj_operator.jobs.pods import Pods
from fpj_operator.jobs.removaljob import removal_job
from fpj_operator.jobs.state import LeaseView
from fpj_operator.keys import Key
from fpj_operator.namespaces import Namespaces
from fpj_operator.settings import OperatorSettings
from fpj_operator.storecalls import Check
from fpj_operator.storehealth import StoreHealth
from fpj_operator.workqueue import Workqueue

_JOB = "FileProcessingJob"
_WORKERS = 4
_PAGE, _MOST = 250, 100_000
_SOON_SECONDS, _LOOK_SECONDS, _WAIT_SECONDS = 2.0, 5.0, 10.0
_RETRY_SECONDS = 60.0
"""After a Job that failed."""
_ENDING = "because it is being terminated"
"""So the API server says why it makes nothing in a namespace that is being deleted."""

log = logging.getLogger("fpj.deletions")


class WaitingError(Exception):
    """The removal cannot go on now; the reason and message of the condition."""

    def __init__(self, reason: str, message: str, seconds: float, *, warning: bool = True) -> None:
        self.reason, self.message, self.seconds, self.warning = reason, message, seconds, warning
        super().__init__(f"{reason}: {message}")


@dataclass(frozen=True, slots=True)
class _Doomed:
    """A job that is being deleted and waits for its files."""

    document: Document
    job: FileProcessingJob
    schedules: tuple[Document, ...]

    @property
    def key(self) -> Key:
        return _key(self.document)

    @property
    def uid(self) -> str:
        return str(self.document["metadata"]["uid"])

    @property
    def requester(self) -> str:
        """In whose name it asked for its tiers."""
        return names.requester_of(self.document["metadata"])

    @property
    def attempt(self) -> int:
        return attempt_from(self.document.get("status") or {}).number

    @property
    def fence(self) -> int:
        """Of its last attempt: the removal's is greater."""
        return attempt_from(self.document.get("status") or {}).fence

    @property
    def collection(self) -> str:
        """Its id in the store."""
        return names.store_collection(self.key.namespace, self.job.collection_id)

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the CacheFolders that it wrote to, or was to write to."""
        found = attempt_from(self.document.get("status") or {}).cache_folder
        return tuple(name for name in (found, self.job.spec.cache_folder) if name)


class Deletions:
    """Fed by `fpj_operator.jobs.controller`; works through its own queue."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        health: StoreHealth,
        leases: Leases,
        folders: Folders,
        pods: Pods,
        namespaces: Namespaces,
        settings: OperatorSettings,
    ) -> None:
        self.work: Workqueue[Key] = Workqueue(self._handle, _WORKERS, _about)
        self._cluster = cluster
        self._store = store
        self._health = health
        self._leases = leases
        self._folders = folders
        self._pods = pods
        self._namespaces = namespaces
        self._settings = settings

    def changed(self, body: Mapping[str, Any]) -> None:
        """A job appeared or changed."""
        if is_doomed(body):
            self.work.add(_key(body))

    def gone(self, key: Key) -> None:
        """The job is no more."""
        self.work.forget(key)

    def child_changed(self, body: Mapping[str, Any], owner: str) -> None:
        """A child Job of a job changed: its end may be the removal's."""
        if (body["metadata"].get("labels") or {}).get(names.LABEL_ROLE) == names.ROLE_REMOVAL:
            self.work.add(Key(body["metadata"]["namespace"], owner))

    async def _handle(self, key: Key) -> float | None:
        """Raises `ClusterError`; then it comes again, later and later."""
        document = await self._cluster.get(_JOB, key.namespace, key.name)
        if document is None or not is_doomed(document):
            return None
        try:
            return await self._look(document)
        except WaitingError as waiting:
            await self._say(document, waiting)
            return waiting.seconds
        except StoreError as error:
            if isinstance(error, FencedError):
                return _SOON_SECONDS
            await self._say(document, WaitingError("StoreUnavailable", str(error), _WAIT_SECONDS))
            return _WAIT_SECONDS
        except ClusterError as error:
            if _ENDING not in str(error):
                raise
            await self._let_go(document, "the namespace is being deleted")
            return None

    async def _look(self, document: Document) -> float | None:
        """Seconds until the next look. Raises `WaitingError`, `StoreError` and `ClusterError`."""
        key = _key(document)
        schedules = tuple(await self._all("FileProcessingSchedule", key.namespace))
        why = why_files_stay(document, schedules)
        if not why and await self._namespaces.is_ending(key.namespace):
            why = "the namespace is being deleted"
        if why:
            await self._let_go(document, why)
            return None
        if not Phase((document.get("status") or {}).get("phase") or Phase.PENDING).finished:
            return _SOON_SECONDS  # the job's own reconciliation ends it, and says what that awaits
        try:
            doomed = _Doomed(document, understood(document), schedules)
        except ManifestError as error:
            raise WaitingError("InvalidSpec", str(error), _WAIT_SECONDS) from error
        return await self._remove(doomed)

    async def _remove(self, doomed: _Doomed) -> float | None:
        key, uid = doomed.key, doomed.uid
        children = await self._children(doomed)
        if await pods_left(
            self._cluster, key.namespace, uid, f",{names.LABEL_ROLE}!={names.ROLE_REMOVAL}"
        ):
            raise WaitingError(
                "PodsEnding", "waiting for the job's pods to end", _SOON_SECONDS, warning=False
            )
        keep = await self._kept(doomed)
        left = await self._left(doomed, keep)
        if not left:
            await self._refresh(doomed)
            stays = f"; {', '.join(keep)}: others of the collection ask for these" if keep else ""
            await self._let_go(doomed.document, f"removed{stays}", removed=True)
            return None
        lease = await self._locked(doomed)
        folder = await self._folder(doomed, left)
        await self._run(doomed, folder, lease, keep, children)
        return _LOOK_SECONDS

    # What is known --------------------------------------------------------------------------------

    async def _children(self, doomed: _Doomed) -> list[Document]:
        """The Jobs that remove files. Those that made them, and have not ended, are deleted."""
        key = doomed.key
        found = await self._cluster.list(
            "Job", key.namespace, labels=f"{names.LABEL_UID}={doomed.uid}"
        )
        ours = [each for each in found if _label(each, names.LABEL_ROLE) == names.ROLE_REMOVAL]
        for each in found:
            if each not in ours and not _ended(each) and not _is_deleting(each):
                await self._cluster.delete("Job", key.namespace, each["metadata"]["name"])
        return ours

    async def _kept(self, doomed: _Doomed) -> tuple[str, ...]:
        jobs = await self._all(_JOB, doomed.key.namespace)
        try:
            return tiers_of_others(doomed.document, jobs, doomed.schedules)
        except OtherNotUnderstoodError as error:
            raise WaitingError("OtherNotUnderstood", str(error), _RETRY_SECONDS) from error

    async def _left(self, doomed: _Doomed, keep: tuple[str, ...]) -> Left:
        asked = [tier.name for tier in resolve_tiers(doomed.job.spec)]
        return await self._health.ask(
            doomed.uid,
            lambda check: left_of(
                self._store, doomed.collection, doomed.key.namespace, asked, keep, check
            ),
            long=True,
        )

    async def _all(self, kind: str, namespace: str) -> list[Document]:
        return [
            each
            async for page in self._cluster.pages(kind, namespace, size=_PAGE, most=_MOST)
            for each in page
        ]

    async def _folder(self, doomed: _Doomed, left: Left) -> CacheFolder:
        """The cache folder that is next: the job's own first, then others with files of it."""
        documents = await self._folders.of(doomed.key.namespace)
        known = {
            folder.metadata.name: folder for each in documents if (folder := parse_folder(each))
        }
        prefix = folder_name(doomed.key.namespace, "")
        started = tuple(each.removeprefix(prefix) for each in left.folders)
        wanted = doomed.folders if left.tiers else started
        for name in wanted:
            if name in known:
                return known[name]
        names_ = ", ".join(wanted) or "that the files are in"
        raise WaitingError("NoCacheFolder", f"there is no cache folder {names_}", _WAIT_SECONDS)

    # The lock -------------------------------------------------------------------------------------

    async def _locked(self, doomed: _Doomed, above: int = 0) -> LeaseView:
        """The collection's lease, held by the job; renewed only when that is due."""
        key, uid = doomed.key, doomed.uid
        above = max(above, doomed.fence)
        view, _ = await self._leases.look(key.namespace, doomed.collection)
        now = time.time()
        fresh = view.expires_at - now >= self._settings.lease_seconds * 2 / 3
        if not (view.held_by(uid, now) and fresh and view.fence > above):
            try:
                view = await self._leases.acquire(key, uid, doomed.collection, above=above)
            except LeaseRefusedError as error:
                raise _refused(error, "Lease") from error
        if not view.held_by(uid, time.time()):
            text = f"{view.holder_name or view.holder} is working on the collection"
            raise WaitingError("CollectionLocked", text, _WAIT_SECONDS, warning=False)
        if other := await self._other_at_work(doomed):
            text = f"waiting for the pods of {other} to end, which was working on the collection"
            raise WaitingError("PodsEnding", text, _SOON_SECONDS, warning=False)
        return view

    async def _other_at_work(self, doomed: _Doomed) -> str:
        """Another job of the collection whose pods still run, although its lock is ours."""
        labels = (
            f"{names.LABEL_LOCK}={lease_name(doomed.collection)},{names.LABEL_UID}!={doomed.uid}"
        )
        page = await self._cluster.page(
            "Pod", doomed.key.namespace, limit=1, labels=labels, fields="status.phase=Running"
        )
        return next((_label(pod, names.LABEL_JOB) for pod in page.get("items", [])), "")

    # The removal ----------------------------------------------------------------------------------

    async def _run(
        self,
        doomed: _Doomed,
        folder: CacheFolder,
        lease: LeaseView,
        keep: tuple[str, ...],
        children: Iterable[Document],
    ) -> None:
        """See that a pod removes the files of this folder. Raises `WaitingError` if none does."""
        wanted = removal_job(
            doomed.job, folder, lease.fence, doomed.attempt, keep, self._settings, doomed.requester
        )
        name = wanted["metadata"]["name"]
        found = next((each for each in children if each["metadata"]["name"] == name), None)
        if found is None:
            await self._begin(doomed, wanted)
        elif _is_deleting(found):
            raise WaitingError("PodsEnding", f"{name} is being deleted", _SOON_SECONDS)
        elif _ended(found):
            await self._again(doomed, found, lease)
        else:
            trouble = (await self._pods.of(found, complete=False, failed=False)).stops
            if trouble is not None:
                raise WaitingError(*trouble.words, _LOOK_SECONDS)
        await self._say_removing(doomed, folder)

    async def _begin(self, doomed: _Doomed, wanted: Document) -> None:
        namespace = doomed.key.namespace
        at_work = await self._cluster.list(
            "Job", namespace, labels=f"{names.LABEL_ROLE}={names.ROLE_REMOVAL}"
        )
        limit = self._settings.max_concurrent_jobs
        if sum(not _ended(each) for each in at_work) >= limit:
            text = f"waiting for one of the namespace's {count(limit)} removals to end"
            raise WaitingError("Queued", text, _WAIT_SECONDS, warning=False)
        try:
            await self._cluster.apply(wanted)
        except ClusterError as error:
            raise _refused(error, "Job") from error

    async def _again(self, doomed: _Doomed, ended: Document, lease: LeaseView) -> None:
        """After a Job that left files: another one, under a greater fence, a minute later."""
        failed = _ended(ended) != "Complete"
        trouble = (await self._pods.of(ended, complete=not failed, failed=failed)).stops
        words = trouble.words if trouble else ("FilesLeft", "the pod ended, and files are left")
        left = _ended_at(ended) + _RETRY_SECONDS - time.time()
        if left <= 0:
            await self._locked(doomed, above=lease.fence)
        raise WaitingError(*words, max(left, _SOON_SECONDS))

    async def _refresh(self, doomed: _Doomed) -> None:
        """The folders' totals without what was removed. Best effort."""
        for name in doomed.folders:
            stored = folder_name(doomed.key.namespace, name)
            try:
                await self._health.ask(f"folder {stored}", self._refreshing(stored))
            except StoreError as error:
                log.warning("statistics of the cache folder %s: %s", name, error)

    def _refreshing(self, name: str) -> Callable[[Check], None]:
        def refresh(_check: Check) -> None:
            if any(folder.name == name for folder in self._store.folders()):
                self._store.refresh_folder(name)

        return refresh

    # What is said ---------------------------------------------------------------------------------

    async def _say_removing(self, doomed: _Doomed, folder: CacheFolder) -> None:
        text = f"a pod removes files from the cache folder {folder.metadata.name}"
        waiting = WaitingError("Removing", text, _LOOK_SECONDS, warning=False)
        await self._say(doomed.document, waiting)

    async def _say(self, document: Document, waiting: WaitingError) -> None:
        """In the condition; a trouble that is new also as an event."""
        status = document.get("status") or {}
        if not Phase(status.get("phase") or Phase.PENDING).finished:
            return  # the status is the job's own reconciliation's until then
        wanted = removing_status(document, (waiting.reason, waiting.message), time.time())
        if same_status(wanted, status):
            return
        key, uid = _key(document), document["metadata"]["uid"]
        version = document["metadata"].get("resourceVersion")
        await self._cluster.apply_status(_JOB, key.namespace, key.name, wanted, uid, version)
        if waiting.warning and condition(status, FILES_REMOVED).get("reason") != waiting.reason:
            text = (
                f"files are not removed: {waiting.message}; to keep them and release the job, set"
                " spec.deletionPolicy: Retain"
            )
            await events.write(
                self._cluster, _JOB, key, uid, Emit(waiting.reason, text, warning=True)
            )

    async def _let_go(self, document: Document, why: str, *, removed: bool = False) -> None:
        """Nothing is left to do: the deletion goes on."""
        key, uid = _key(document), document["metadata"]["uid"]
        change = with_files_finalizer(document, wait=False)
        await self._cluster.merge(_JOB, key.namespace, key.name, change)
        reason = "FilesRemoved" if removed else "FilesKept"
        text = f"the files that were made: {why}" if removed else f"files stay: {why}"
        log.info(text)
        await events.write(self._cluster, _JOB, key, uid, Emit(reason, text))


def _refused(error: ClusterError, kind: str) -> Exception:
    """What the API server says to a Job or a Lease, as what is waited for."""
    if not error.status or _ENDING in str(error):
        return error
    return WaitingError("ChildRejected", f"{kind}: {error}", max(_WAIT_SECONDS, error.retry_after))


def _ended(job: Document) -> str:
    """How a Job has ended: the type of the condition that says so; empty while it has not."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    holds = {each["type"] for each in conditions if each.get("status") == "True"}
    return next((kind for kind in ("Complete", "Failed") if kind in holds), "")


def _ended_at(job: Document) -> float:
    conditions = (job.get("status") or {}).get("conditions") or ()
    times = [each.get("lastTransitionTime") for each in conditions if each["type"] == _ended(job)]
    return seconds_of(times[0]) if times else 0.0


def _is_deleting(document: Document) -> bool:
    return "deletionTimestamp" in document["metadata"]


def _label(document: Document, name: str) -> str:
    return str((document["metadata"].get("labels") or {}).get(name, ""))


def _key(body: Mapping[str, Any]) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


def _about(key: Key) -> AbstractContextManager[None]:
    return about(namespace=key.namespace, job=key.name)
