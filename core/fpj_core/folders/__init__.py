"""Cache folders: where derivatives live, on a disk or in a bucket, and which one a job writes to."""

from fpj_core.folders.base import CacheFolder, FolderConfig
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.folders.selection import Candidate, select_folder

__all__ = ["CacheFolder", "Candidate", "FolderConfig", "LocalFolderConfig", "S3FolderConfig", "select_folder"]
