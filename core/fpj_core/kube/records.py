"""How a cluster's resources are recorded in the store, which all namespaces may share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from fpj_core.model import Folder, Layout
from fpj_core.policies import spec_policy
from fpj_core.v1alpha1.cachefolder import CacheFolder, CacheFolderSpec, Storage
from fpj_core.v1alpha1.common import parse_quantity


def folder_name(namespace: str | None, name: str) -> str:
    """A CacheFolder's name in the store."""
    return f"{namespace}.{name}" if namespace else name


@dataclass(frozen=True, slots=True)
class Reach:
    """What a bucket needs beside its location; of each, None is the default.

    Keys are never recorded.
    """

    endpoint: str | None = None
    region: str | None = None
    cache_control: str | None = None

    def recorded(self) -> str | None:
        """As `Folder.reach` holds it."""
        given = {name: value for name, value in asdict(self).items() if value}
        return json.dumps(given, sort_keys=True) if given else None


def reach_of(folder: Folder) -> Reach:
    """What was recorded; what later versions record in addition is ignored."""
    given = json.loads(folder.reach or "{}")
    return Reach(given.get("endpoint"), given.get("region"), given.get("cache_control"))


def folder_record(folder: CacheFolder) -> Folder:
    """A CacheFolder as ``<namespace>.<name>``: another namespace may have one of that name.

    Statistics are left out.
    """
    metadata, spec = folder.metadata, folder.spec
    return Folder(
        name=folder_name(metadata.namespace, metadata.name),
        location=_location(spec.storage, metadata.namespace or ""),
        priority=spec.meant("priority"),
        max_bytes=None if spec.max_bytes is None else parse_quantity(spec.max_bytes),
        layout=spec.meant("layout"),
        reach=spec_reach(spec),
        policy=spec_policy(spec, metadata.namespace),
    )


def spec_reach(spec: CacheFolderSpec) -> str | None:
    """How a folder's bucket is reached, to be recorded; None for other storage."""
    bucket = spec.storage.s3
    return Reach(bucket.endpoint, bucket.region, spec.cache_control).recorded() if bucket else None


def used_for(folder: Folder, collection: str) -> Folder:
    """The folder as a job of the collection records it."""
    return replace(folder, mirrored=collection if folder.layout is Layout.MIRROR else None)


def _location(storage: Storage, namespace: str) -> str:
    """``s3://bucket/prefix``, ``pvc://namespace/claim/path`` or a path."""
    if storage.s3 is not None:
        return f"s3://{storage.s3.bucket}/{(storage.s3.prefix or '').strip('/')}".rstrip("/")
    if storage.persistent_volume_claim is not None:
        claim = storage.persistent_volume_claim
        return f"pvc://{namespace}/{claim.claim_name}/{(claim.path or '').strip('/')}".rstrip("/")
    return storage.local.path if storage.local else ""
