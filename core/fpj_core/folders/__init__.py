"""Cache folders: where derivatives live, on a disk or in a bucket, and which one a job writes to.

Those in a bucket are in `fpj_core.folders.s3`, apart, because the client they need takes time and
memory to load.
"""

from fpj_core.folders.base import CacheFolder, FolderConfig
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.folders.selection import Candidate, select_folder

__all__ = ["CacheFolder", "Candidate", "FolderConfig", "LocalFolderConfig", "select_folder"]
