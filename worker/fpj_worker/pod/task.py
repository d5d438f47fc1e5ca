"""A pod's task, from its environment, with every default resolved and every place found."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fpj_core.errors import ManifestError
from fpj_core.folders.base import FolderConfig
from fpj_core.kube.records import folder_record, used_for
from fpj_core.manifest import parse_resource
from fpj_core.model import Folder
from fpj_core.sources.base import SourceConfig
from fpj_core.v1alpha1 import CacheFolder, FileProcessingJob
from fpj_worker.places import Keys, folder_config, source_config

M = TypeVar("M", bound=BaseModel)

_SUSPECT_SECONDS = "15"
_GRACE_SECONDS = "30"
_SPARE_SECONDS = 5.0
"""Of the grace period, left for recording what was finished and for ending."""
_HEARTBEATS = 5
"""In the time after which a silent shard is suspect.

At 15 s that is one every 3 s, so that a machine that schedules nothing for 10 s takes nobody for
dead.
"""


@dataclass(frozen=True, slots=True)
class Task:
    """The work of one pod.

    ``collection`` is the store's id of the collection; times are seconds.
    """

    job: FileProcessingJob
    job_id: str
    namespace: str
    collection: str
    attempt: int
    fence: int
    shards: tuple[range, ...]
    completion_index: int
    report: bool
    source: SourceConfig
    folder: FolderConfig
    folder_record: Folder
    pod: str
    suspect_after: float
    grace: float
    keep: tuple[str, ...] = ()
    """Of `fpj-worker remove`: the tiers whose files stay."""

    @property
    def shard_index(self) -> int:
        """Which shard this pod works on. Raises `ManifestError` if there is none for it."""
        left = self.completion_index
        for indexes in self.shards:
            if left < len(indexes):
                return indexes[left]
            left -= len(indexes)
        raise ManifestError(
            [f"FPJ_TASK: there is no shard for completion index {self.completion_index}"]
        )

    @property
    def about(self) -> dict[str, object]:
        """What every line of the pod's log says beside its event. Raises as `shard_index` does."""
        name = self.job.metadata.name
        said = {
            "namespace": self.namespace,
            "job": name,
            "uid": self.job_id,
            "attempt": self.attempt,
        }
        return said | ({"shard": self.shard_index} if self.shards else {})

    @property
    def heartbeat_interval(self) -> float:
        """Seconds between two signs of life."""
        return self.suspect_after / _HEARTBEATS


_MOST_KEPT = 10_000


class _Document(BaseModel):
    """FPJ_TASK, as the operator writes it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    job: dict[str, Any]
    folder: dict[str, Any]
    collection: str = Field(min_length=1)
    attempt: int = Field(ge=1)
    fence: int = Field(ge=0)
    shards: str = Field("", pattern=r"^([0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*)?$")
    report: bool = False
    keep: list[str] = Field([], max_length=_MOST_KEPT)


def read_task(environment: Mapping[str, str]) -> Task:
    """Raises `ManifestError`."""
    document = parsed_task(_Document, environment)
    job = parse_resource(document.job)
    folder = parse_resource(document.folder)
    if not isinstance(job, FileProcessingJob) or not isinstance(folder, CacheFolder):
        raise ManifestError(
            ["FPJ_TASK: job is not a FileProcessingJob, or folder not a CacheFolder"]
        )
    if not (job.metadata.uid and job.metadata.namespace):
        raise ManifestError(["FPJ_TASK: job.metadata lacks uid or namespace"])
    if job.spec.collection.source.local or folder.spec.storage.local:
        raise ManifestError(
            ["local exists only for `fpj run`; in a cluster use persistentVolumeClaim or s3"]
        )
    return Task(
        job=job,
        job_id=job.metadata.uid,
        namespace=job.metadata.namespace,
        collection=document.collection,
        attempt=document.attempt,
        fence=document.fence,
        shards=_ranges(document.shards),
        completion_index=int(environment.get("JOB_COMPLETION_INDEX", "0")),
        report=document.report,
        keep=tuple(document.keep),
        source=source_config(
            job,
            Path(environment.get("FPJ_SOURCE_ROOT", "/source")),
            keys_from(environment, "SOURCE"),
        ),
        folder=folder_config(
            folder,
            Path(environment.get("FPJ_CACHE_ROOT", "/cache")),
            keys_from(environment, "FOLDER"),
        ),
        folder_record=used_for(folder_record(folder), document.collection),
        pod=environment.get("POD_NAME") or socket.gethostname(),
        suspect_after=float(environment.get("FPJ_SUSPECT_SECONDS", _SUSPECT_SECONDS)),
        grace=max(
            float(environment.get("FPJ_GRACE_SECONDS", _GRACE_SECONDS)) - _SPARE_SECONDS, 0.0
        ),
    )


def parsed_task(model: type[M], environment: Mapping[str, str]) -> M:
    """FPJ_TASK. Raises `ManifestError`."""
    try:
        return model.model_validate_json(environment.get("FPJ_TASK", ""))
    except ValidationError as error:
        problems = [
            f"FPJ_TASK: {'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
        ]
        raise ManifestError(problems) from None


def _ranges(text: str) -> tuple[range, ...]:
    """``0-99,105,110-120``: shard indexes, both ends included."""
    pairs = [part.partition("-") for part in text.split(",") if part]
    return tuple(range(int(first), int(last or first) + 1) for first, _, last in pairs)


def keys_from(environment: Mapping[str, str], place: str) -> Keys | None:
    """Credentials of the SOURCE or the FOLDER; None where the task has none of its own."""
    key = environment.get(f"FPJ_{place}_AWS_ACCESS_KEY_ID")
    return Keys(key, environment.get(f"FPJ_{place}_AWS_SECRET_ACCESS_KEY", "")) if key else None
