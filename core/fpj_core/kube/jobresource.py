"""A FileProcessingJob as the commands see it: the resource itself,
or what a store's record amounts to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fpj_core.formatting import seconds_of
from fpj_core.kube.names import (
    BULK_SIZE_ANNOTATION,
    LABEL_BULK,
    LABEL_SCHEDULE,
    resume_mark,
)
from fpj_core.model import Phase

STALE = "Stale"
"""Of a run on this machine: it claims to be active, but nothing works on it."""

_NO_PROGRESS: dict[str, Any] = {
    "total": 0,
    "completed": 0,
    "skipped": 0,
    "failed": 0,
    "percent": 0,
    "imagesPerSecond": 0.0,
    "etaSeconds": None,
    "bytesWritten": 0,
    "averageProcessingMs": 0.0,
}
_ACTIVE = frozenset(phase.value for phase in Phase if phase.active)
_FINISHED = frozenset(phase.value for phase in Phase if phase.finished)
_INCOMPLETE = frozenset({Phase.FAILED.value, Phase.COMPLETED_WITH_ERRORS.value, STALE})


@dataclass(frozen=True, slots=True)
class JobResource:
    """Reads a document of the resource's shape; nothing in it need be there,
    as in a job that nobody has seen yet.
    """

    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._metadata["name"])

    @property
    def namespace(self) -> str | None:
        """None on one machine."""
        return self._metadata.get("namespace")

    @property
    def uid(self) -> str:
        """What the store knows it by."""
        return str(self._metadata["uid"])

    @property
    def full_name(self) -> str:
        """Unique also among namespaces."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def created_at(self) -> float:
        """Seconds since the epoch."""
        return seconds_of(self._metadata.get("creationTimestamp"))

    @property
    def deleting(self) -> bool:
        """Whether it has been deleted and only its finalizers keep it."""
        return "deletionTimestamp" in self._metadata

    @property
    def finalizers(self) -> list[str]:
        """What must be done before it can go."""
        return list(self._metadata.get("finalizers") or ())

    @property
    def schedule(self) -> str | None:
        """The schedule that began it, if one did; by its label."""
        return self.labels.get(LABEL_SCHEDULE)

    @property
    def bulk(self) -> str | None:
        """The bulk operation that made it, if one did; by its label."""
        return self.labels.get(LABEL_BULK)

    @property
    def bulk_size(self) -> int:
        """How many jobs its bulk operation was to make; 0 if it does not say."""
        said = str((self._metadata.get("annotations") or {}).get(BULK_SIZE_ANNOTATION, ""))
        return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return dict(self._metadata.get("labels") or {})

    @property
    def spec(self) -> Mapping[str, Any]:
        """What was asked for."""
        return self.document.get("spec") or {}

    @property
    def job_type(self) -> str:
        """Cache, Thumbnail or Both."""
        return str(self.spec.get("jobType", ""))

    @property
    def collection(self) -> str:
        """Its id."""
        return str((self.spec.get("collection") or {}).get("id") or self.name)

    @property
    def suspended(self) -> bool:
        """Whether it was asked to stop."""
        return bool(self.spec.get("suspend"))

    @property
    def status(self) -> Mapping[str, Any]:
        """What became of it so far."""
        return self.document.get("status") or {}

    @property
    def seen(self) -> bool:
        """Whether an operator has looked at it."""
        return bool(self.status.get("phase"))

    @property
    def phase(self) -> str:
        """Of `fpj_core.model.Phase`, or `STALE`."""
        return str(self.status.get("phase") or Phase.PENDING.value)

    @property
    def stage(self) -> str:
        """Stage of an active job."""
        return str(self.status.get("stage") or "")

    @property
    def resuming(self) -> bool:
        """Whether a resume was requested and has not taken effect yet:
        its phase is still the earlier one.
        """
        asked = resume_mark(self._metadata)
        answered = (self.status.get("attempt") or {}).get("resumedBy")
        return bool(asked) and asked != answered

    @property
    def finished(self) -> bool:
        """Whether it has ended, and was not asked to go on."""
        return self.phase in _FINISHED and not self.resuming

    @property
    def at_rest(self) -> bool:
        """Whether nothing more will happen by itself: in a cluster the operator waits for a
        suspended job.
        """
        return (
            self.finished
            or self.phase == STALE
            or (self.phase == Phase.SUSPENDED and self.namespace is None)
        )

    @property
    def incomplete(self) -> bool:
        """Whether it has stopped with images that another attempt may make."""
        return self.phase in _INCOMPLETE and not self.resuming

    @property
    def conditions(self) -> list[Mapping[str, Any]]:
        """As in the status."""
        return list(self.status.get("conditions") or ())

    @property
    def why(self) -> tuple[str, str]:
        """(reason, message) of the phase; what keeps an active job from moving comes first."""
        found = {each["type"]: each for each in self.conditions}
        stuck = found.get("Progressing", {})
        active = self.phase in _ACTIVE
        chosen = stuck if active and stuck.get("status") == "False" else found.get("Ready", {})
        return str(chosen.get("reason", "")), str(chosen.get("message", ""))

    @property
    def progress(self) -> Mapping[str, Any]:
        """All fields of `status.progress`."""
        return _NO_PROGRESS | dict(self.status.get("progress") or {})

    @property
    def done(self) -> int:
        """Images that need nothing more."""
        progress = self.progress
        return int(progress["completed"] + progress["skipped"] + progress["failed"])

    @property
    def errors(self) -> dict[str, int]:
        """Failed images by error type."""
        return dict(sorted((self.status.get("errorBreakdown") or {}).items()))

    @property
    def left_out(self) -> dict[str, int]:
        """What the source has that does not belong to the collection, by reason.

        Of runs on this machine.
        """
        return dict(self.status.get("leftOut") or {})

    @property
    def shards(self) -> dict[str, int]:
        """How many stand where: total, active, succeeded, failed."""
        found = self.status.get("shards") or {}
        return {
            name: int(found.get(name, 0)) for name in ("total", "active", "succeeded", "failed")
        }

    @property
    def recovery_attempts(self) -> int:
        """Times that it was recovered."""
        return int(self.status.get("recoveryAttempts") or 0)

    @property
    def started_at(self) -> float | None:
        """Seconds since the epoch."""
        return seconds_of(self.status.get("startTime")) or None

    @property
    def finished_at(self) -> float | None:
        """Seconds since the epoch."""
        return seconds_of(self.status.get("completionTime")) or None

    @property
    def last_progress_at(self) -> float | None:
        """Seconds since the epoch."""
        return seconds_of(self.status.get("lastProgressAt")) or None

    @property
    def _metadata(self) -> Mapping[str, Any]:
        return dict(self.document["metadata"])

    def summary(self) -> dict[str, Any]:
        """What `-o json` says of it."""
        reason, message = self.why
        return {
            "jobId": self.uid,
            "name": self.name,
            **({"namespace": self.namespace} if self.namespace else {}),
            "collection": self.collection,
            "jobType": self.job_type or None,
            "phase": self.phase,
            "stage": self.stage,
            "reason": reason,
            "message": message,
            "progress": self.progress,
            "startTime": self.status.get("startTime"),
            "completionTime": self.status.get("completionTime"),
        }

    def manifest(self) -> dict[str, Any]:
        """What to apply to get the same job."""
        kept = {
            name: self._metadata[name] for name in ("name", "namespace") if name in self._metadata
        }
        head = {
            name: self.document[name] for name in ("apiVersion", "kind") if name in self.document
        }
        return {**head, "metadata": kept, "spec": self.spec}
