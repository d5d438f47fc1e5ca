"""Jobs of `fpj run`, in a store."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import asdict, replace

from typing_extensions import override

from fpj_cli.backend import Document, Jobs
from fpj_cli.context import UsageProblemError, find_job, shown_phase
from fpj_core import formatting
from fpj_core.kube.events import Event
from fpj_core.kube.jobresource import STALE, JobResource
from fpj_core.kube.names import lease_name
from fpj_core.kube.status import status_document
from fpj_core.leases import is_dead, local_holder_pid
from fpj_core.model import Failure, Job, Phase
from fpj_core.progress import measure
from fpj_core.store.protocol import Store

_PAGE = 1_000


class StoreJobs(Jobs):
    """See `fpj_cli.backend.Jobs`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.place = store.location
        self.all_namespaces = False

    @override
    def all(self, limit: int | None = None) -> list[JobResource]:
        """Newest first."""
        return [self._resource(job) for job in self._store.jobs(limit=limit or _PAGE)]

    @override
    def get(self, name: str | None) -> JobResource:
        return self._resource(find_job(self._store, name))

    @override
    def refresh(self, job: JobResource) -> JobResource | None:
        """The same job as it stands now."""
        found = self._store.get_job(job.uid)
        return self._resource(found) if found else None

    @override
    def events(self, job: JobResource) -> list[Event]:
        """None."""
        return []

    @override
    def failures(
        self, job: JobResource, error_type: str | None, limit: int | None
    ) -> list[Document]:
        """In the order of the images."""
        return failures_in(self._store, job.uid, error_type, limit)

    @override
    def suspend(self, job: JobResource) -> None:
        """Ask the process that works on it to stop, as Ctrl-C does."""
        lease = self._store.lease(lease_name(job.collection))
        holder = lease.holder if lease else ""
        pid = local_holder_pid(holder)
        if pid is None or not holder.startswith(job.uid) or is_dead(holder):
            raise UsageProblemError(f"nothing on this machine works on {job.name}")
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            raise UsageProblemError(
                f"nothing on this machine works on {job.name} any more"
            ) from None
        except PermissionError:
            raise UsageProblemError(
                f"process {pid}, which works on {job.name}, belongs to another user"
            ) from None

    def _resource(self, job: Job) -> JobResource:
        counts, states = self._store.job_counts(job.id, job.planned_attempt)
        phase = shown_phase(self._store, job)
        whole, moved = job.base + counts, job.last_progress_at
        at_rest = job.phase.at_rest or phase == STALE
        status = status_document(
            measure(_until_now(job, phase), counts), whole, states, moved, at_rest=at_rest
        )
        if at_rest and not job.phase.finished:
            status["progress"].pop("etaSeconds", None)
        status |= {"phase": phase, "stage": job.stage, "conditions": _conditions(job)}
        status["leftOut"] = dict(job.left_out)
        for name, moment in (("startTime", job.started_at), ("completionTime", job.finished_at)):
            if moment:
                status[name] = formatting.moment(moment)
        spec = job.manifest.get("spec")
        spec = dict(spec) if isinstance(spec, dict) else {}
        spec["collection"] = dict(spec.get("collection") or {}) | {"id": job.collection}
        metadata = {
            "name": job.name,
            "uid": job.id,
            "creationTimestamp": formatting.moment(job.created_at),
        }
        head = {name: job.manifest[name] for name in ("apiVersion", "kind") if name in job.manifest}
        return JobResource({**head, "metadata": metadata, "spec": spec, "status": status})


def _until_now(job: Job, phase: str) -> Job:
    """The job with its active time up to now: its process records that every few seconds,
    and counts more often.
    """
    if phase != Phase.RUNNING or job.stage != "Process" or job.last_progress_at is None:
        return job
    return replace(
        job, active_seconds=job.active_seconds + max(time.time() - job.last_progress_at, 0.0)
    )


def failures_in(
    store: Store, job_id: str, error_type: str | None, limit: int | None
) -> list[Document]:
    """Failed images of a job, in the order of the images; all of them without a limit."""
    listed: list[Failure] = []
    while limit is None or len(listed) < limit:
        after = listed[-1].ordinal if listed else -1
        most = _PAGE if limit is None else min(limit - len(listed), _PAGE)
        page = store.failures(job_id, error_type=error_type, after=after, limit=most)
        if not page:
            break
        listed.extend(page)
    return [failure_document(asdict(failure)) for failure in listed]


def failure_document(failure: Document) -> Document:
    """A failure as programs get it, from its fields.

    A document of an earlier version becomes one of this.
    """
    at = failure["at"]
    named = {
        name: failure[name]
        for name in ("job", "collection", "ordinal", "image", "key", "message", "attempts")
    }
    error_type = str(failure.get("errorType") or failure["error_type"])
    return named | {
        "errorType": error_type,
        "at": at if isinstance(at, str) else formatting.moment(at),
    }


def _conditions(job: Job) -> list[Document]:
    """One alone: a run has no more to tell."""
    if not job.reason and not job.message:
        return []
    complete = job.phase in (Phase.COMPLETED, Phase.COMPLETED_WITH_ERRORS)
    return [
        {
            "type": "Ready",
            "status": "True" if complete else "False",
            "reason": job.reason,
            "message": job.message,
        },
    ]
