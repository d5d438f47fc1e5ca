"""How a cluster's resources are recorded in the store, which all namespaces may share."""

from __future__ import annotations

from dataclasses import replace

from fpj_core.model import Folder, Layout
from fpj_core.v1alpha1.cachefolder import CacheFolder, Storage
from fpj_core.v1alpha1.common import parse_quantity


def folder_name(namespace: str | None, name: str) -> str:
    """A CacheFolder's name in the store."""
    return f"{namespace}.{name}" if namespace else name


def folder_record(folder: CacheFolder) -> Folder:
    """A CacheFolder as ``<namespace>.<name>``: another namespace may have one of that name. Statistics are left out."""
    metadata, spec = folder.metadata, folder.spec
    return Folder(
        name=folder_name(metadata.namespace, metadata.name),
        location=_location(spec.storage, metadata.namespace or ""),
        priority=spec.priority or 0,
        max_bytes=None if spec.max_bytes is None else parse_quantity(spec.max_bytes),
        layout=spec.layout or Layout.HASHED,
    )


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
