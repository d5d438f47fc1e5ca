"""Identifiers: of images, collections and jobs."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import uuid
from pathlib import Path

_NOT_SLUG = re.compile(r"[^a-z0-9]+")


def image_id(collection: str, key: str) -> str:
    """32 hex digits that name an image forever: the same collection and key give the same id."""
    return hashlib.blake2b(f"{collection}\0{key}".encode(), digest_size=16).hexdigest()


def collection_id_for(path: Path) -> str:
    """``<folder name>-<8 hex of the whole path>``: readable, unlike any other folder's,
    at most 63 characters.
    """
    plain = unicodedata.normalize("NFKD", path.name).encode("ascii", "ignore").decode().lower()
    slug = _NOT_SLUG.sub("-", plain).strip("-")[:54].strip("-") or "images"
    digest = hashlib.blake2b(
        str(path).encode("utf-8", "surrogateescape"), digest_size=4
    ).hexdigest()
    return f"{slug}-{digest}"


def new_job_id() -> str:
    """A fresh job id; in a cluster the resource's uid stands in its place."""
    return str(uuid.uuid4())
