"""The API: FileProcessingJob and CacheFolder, ``fpj.dev/v1alpha1``."""

from fpj_core.v1alpha1.cachefolder import CacheFolder, CacheFolderSpec
from fpj_core.v1alpha1.common import API_VERSION, GROUP, VERSION
from fpj_core.v1alpha1.defaults import (
    Recovery,
    Sharding,
    resolve_limits,
    resolve_max_failed,
    resolve_recovery,
    resolve_sharding,
    resolve_tiers,
)
from fpj_core.v1alpha1.job import FileProcessingJob, FileProcessingJobSpec, JobType, SkipCheck

__all__ = [
    "API_VERSION",
    "GROUP",
    "VERSION",
    "CacheFolder",
    "CacheFolderSpec",
    "FileProcessingJob",
    "FileProcessingJobSpec",
    "JobType",
    "Recovery",
    "Sharding",
    "SkipCheck",
    "resolve_limits",
    "resolve_max_failed",
    "resolve_recovery",
    "resolve_sharding",
    "resolve_tiers",
]
