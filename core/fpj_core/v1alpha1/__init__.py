"""The API, ``fpj.dev/v1alpha1``: FileProcessingJob, CacheFolder, FileProcessingSchedule and
CachePurge.
"""

from fpj_core.kube.names import API_VERSION, GROUP, VERSION
from fpj_core.v1alpha1.cachefolder import CacheFolder, CacheFolderSpec
from fpj_core.v1alpha1.cachepurge import CachePurge, CachePurgeSpec, PurgePhase
from fpj_core.v1alpha1.defaults import (
    Recovery,
    Sharding,
    resolve_limits,
    resolve_max_failed,
    resolve_pre_running_deadline,
    resolve_recovery,
    resolve_sharding,
    resolve_tiers,
    resolve_vanished,
)
from fpj_core.v1alpha1.job import (
    DeletionPolicy,
    FileProcessingJob,
    FileProcessingJobSpec,
    JobType,
    SkipCheck,
)
from fpj_core.v1alpha1.schedule import (
    ConcurrencyPolicy,
    FileProcessingSchedule,
    FileProcessingScheduleSpec,
)

Resource = FileProcessingJob | CacheFolder | FileProcessingSchedule | CachePurge
ResourceType = (
    type[FileProcessingJob] | type[CacheFolder] | type[FileProcessingSchedule] | type[CachePurge]
)
RESOURCES: tuple[ResourceType, ...] = (
    FileProcessingJob,
    CacheFolder,
    FileProcessingSchedule,
    CachePurge,
)

__all__ = [
    "API_VERSION",
    "GROUP",
    "RESOURCES",
    "VERSION",
    "CacheFolder",
    "CacheFolderSpec",
    "CachePurge",
    "CachePurgeSpec",
    "ConcurrencyPolicy",
    "DeletionPolicy",
    "FileProcessingJob",
    "FileProcessingJobSpec",
    "FileProcessingSchedule",
    "FileProcessingScheduleSpec",
    "JobType",
    "PurgePhase",
    "Recovery",
    "Resource",
    "ResourceType",
    "Sharding",
    "SkipCheck",
    "resolve_limits",
    "resolve_max_failed",
    "resolve_pre_running_deadline",
    "resolve_recovery",
    "resolve_sharding",
    "resolve_tiers",
    "resolve_vanished",
]
