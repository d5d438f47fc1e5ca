"""Where a resource's source and cache folder are, seen from this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fpj_core.errors import CacheFolderError, ManifestError
from fpj_core.folders.base import FolderConfig
from fpj_core.folders.local import LocalFolderConfig
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.folders.selection import Candidate, select_folder
from fpj_core.ids import collection_id_for
from fpj_core.kube.records import reach_of, spec_reach
from fpj_core.model import CACHE_CONTROL, Folder, Layout
from fpj_core.objects import Bucket
from fpj_core.policies import spec_policy
from fpj_core.sources.base import SourceConfig
from fpj_core.sources.filters import Filter
from fpj_core.sources.keys import display_key
from fpj_core.sources.local import LocalSourceConfig
from fpj_core.sources.s3 import S3SourceConfig
from fpj_core.v1alpha1 import (
    CacheFolder,
    FileProcessingJob,
)
from fpj_core.v1alpha1.common import S3, Local, PersistentVolumeClaim, parse_quantity

_ONE_IMAGE = 2**20
"""Bytes a folder must at least have room for to be chosen."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Credentials of one bucket, where source and cache folder may need different ones."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """A cache folder that this run can write to."""

    record: Folder
    config: FolderConfig


def source_config(
    resource: FileProcessingJob, claim_root: Path | None, keys: Keys | None = None
) -> SourceConfig:
    """Where the resource's images are, seen from this machine."""
    collection = resource.spec.collection
    source = collection.source
    wanted = Filter(tuple(collection.include or ()), tuple(collection.exclude or ()))
    if source.s3 is not None:
        return S3SourceConfig(_bucket(source.s3, keys), wanted)
    return LocalSourceConfig(
        _path(source.local, source.persistent_volume_claim, claim_root), wanted
    )


def source_identity(
    resource: FileProcessingJob, config: SourceConfig, namespace: str | None = None
) -> str:
    """Which source this is, in words that a person recognizes: the same for the same place,
    however it was written.

    ``namespace`` is that of the job in a cluster: where a claim is mounted says nothing there.
    """
    source = resource.spec.collection.source
    if source.s3 is not None:
        endpoint = f" at {source.s3.endpoint.rstrip('/').lower()}" if source.s3.endpoint else ""
        return f"bucket s3://{source.s3.bucket}/{(source.s3.prefix or '').strip('/')}{endpoint}"
    if namespace is not None and (claim := source.persistent_volume_claim) is not None:
        return (
            f"claim {namespace}/{claim.claim_name}, folder"
            f" {os.path.normpath('/' + (claim.path or '').strip('/'))}"
        )
    if not isinstance(config, LocalSourceConfig):
        raise AssertionError("unreachable")
    return f"folder {display_key(os.path.realpath(config.root))}"


def place_for_path(
    path: Path,
    known: Sequence[Folder] = (),
    layout: Layout | None = None,
    usual: Layout = Layout.HASHED,
) -> Place:
    """A cache folder named after its path, laid out as asked for, else as it is known to be,
    else as usual.
    """
    config = LocalFolderConfig(str(path.expanduser().absolute()))
    name = collection_id_for(Path(config.location))
    kept = next((each for each in known if each.name == name), None)
    record = kept or Folder(name, config.location, layout=usual)
    return Place(replace(record, location=config.location, layout=layout or record.layout), config)


def place_by_rules(
    resource: FileProcessingJob,
    given: Sequence[CacheFolder],
    known: Sequence[Folder],
    claim_root: Path | None,
) -> Place | None:
    """The cache folder that the manifests or the store name.

    None if neither knows any and none is asked for.
    """
    held = {folder.name: folder for folder in known}
    places = {folder.metadata.name: _place_of(folder, claim_root, held) for folder in given}
    if resource.spec.cache_folder is not None:
        places = {folder.name: place_of_record(folder) for folder in known} | places
    elif not places:
        return None
    candidates = [
        Candidate(place.record, place.config.build().free_bytes()) for place in places.values()
    ]
    return places[select_folder(candidates, _ONE_IMAGE, resource.spec.cache_folder).name]


def place_of_record(folder: Folder) -> Place:
    """A cache folder that an earlier run recorded."""
    if not folder.location.startswith("s3://"):
        return Place(folder, LocalFolderConfig(folder.location))
    bucket, _, prefix = folder.location.removeprefix("s3://").partition("/")
    reach = reach_of(folder)
    place = Bucket(bucket, prefix, reach.endpoint, reach.region)
    return Place(folder, S3FolderConfig(place, reach.cache_control or CACHE_CONTROL))


def with_cache_control(place: Place, cache_control: str) -> Place:
    """The place, whose objects are written with another Cache-Control.

    Raises `ManifestError` unless it is a bucket.
    """
    if not isinstance(place.config, S3FolderConfig):
        raise ManifestError(["--cache-control is only for a cache folder in a bucket"])
    reach = replace(reach_of(place.record), cache_control=cache_control)
    record = replace(place.record, reach=reach.recorded())
    return Place(record, replace(place.config, cache_control=cache_control))


def with_limit(place: Place, max_bytes: int | None) -> Place:
    """The place, which may hold so many bytes; None for no limit."""
    return Place(replace(place.record, max_bytes=max_bytes), place.config)


def folder_config(
    folder: CacheFolder, claim_root: Path | None, keys: Keys | None = None
) -> FolderConfig:
    """Where the cache folder is, seen from this machine."""
    storage = folder.spec.storage
    if storage.s3 is not None:
        return S3FolderConfig(_bucket(storage.s3, keys), folder.spec.meant("cache_control"))
    return LocalFolderConfig(_path(storage.local, storage.persistent_volume_claim, claim_root))


def _place_of(folder: CacheFolder, claim_root: Path | None, held: Mapping[str, Folder]) -> Place:
    """``held`` is what the store knows: a manifest says what a folder may hold,
    not what it holds.
    """
    config = folder_config(folder, claim_root)
    record = replace(
        held.get(folder.metadata.name) or Folder(folder.metadata.name, ""),
        location=config.location,
        priority=folder.spec.priority or 0,
        max_bytes=None if folder.spec.max_bytes is None else parse_quantity(folder.spec.max_bytes),
        layout=folder.spec.meant("layout"),
        reach=spec_reach(folder.spec),
        policy=spec_policy(folder.spec, None),
    )
    return Place(record, config)


def _path(local: Local | None, claim: PersistentVolumeClaim | None, claim_root: Path | None) -> str:
    if local is not None:
        return os.path.abspath(os.path.expanduser(local.path))
    if claim is None:
        raise CacheFolderError("the storage names no place")
    if claim_root is None:
        problem = (
            f"persistentVolumeClaim {claim.claim_name} exists only in a cluster; say where its"
            " files are"
        )
        raise ManifestError([f"{problem} on this machine with --claim-root DIR"])
    return str(claim_root.absolute() / (claim.path or "").strip("/"))


def _bucket(place: S3, keys: Keys | None) -> Bucket:
    return Bucket(
        place.bucket,
        (place.prefix or "").strip("/"),
        place.endpoint,
        place.region,
        keys.access_key_id if keys else None,
        keys.secret_access_key if keys else None,
    )
