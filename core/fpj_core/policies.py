"""A CacheFolder's policy: as the store keeps it, and as the engine plans by it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from pydantic import ValidationError

from fpj_core import policy
from fpj_core.errors import PolicyError
from fpj_core.kube.names import store_collection
from fpj_core.model import Folder, ImageRecord
from fpj_core.v1alpha1.cachefolder import (
    CacheFolderSpec,
    CollectionPolicy,
    Policy,
    TierPolicy,
)
from fpj_core.v1alpha1.common import parse_quantity

_WHOLE = 100.0
"""Percent."""


class Images(Protocol):
    """What a store knows of images."""

    def images_by_key(self, collection: str, keys: Sequence[str]) -> dict[str, ImageRecord]:
        """See `fpj_core.store.protocol.Store`."""


def spec_policy(spec: CacheFolderSpec, namespace: str | None) -> str | None:
    """``spec.policy`` as `Folder.policy` holds it, with collections as the store names them."""
    if spec.policy is None:
        return None
    document = spec.policy.model_dump(mode="json", by_alias=True, exclude_none=True)
    for each in document.get("collections", ()) if namespace else ():
        each["id"] = store_collection(namespace or "", each["id"])
    return json.dumps(document, sort_keys=True)


def has_policy(folder: Folder) -> bool:
    """Whether anything may ever be evicted from it by itself."""
    return folder.max_bytes is not None or folder.policy is not None


def policy_of(folder: Folder, images: Images) -> policy.Policy:
    """By what to evict from a folder. Raises `PolicyError` for a record that is invalid."""
    given = _recorded(folder)
    collections, tiers = given.collections or [], given.tiers or []
    return policy.Policy(
        ttl=given.ttl,
        ttl_since=given.meant("ttl_since"),
        eviction=given.eviction,
        max_bytes=folder.max_bytes,
        high_watermark=given.meant("high_watermark"),
        low_watermark=given.meant("low_watermark"),
        minimum_age=given.meant("minimum_age_seconds"),
        collection_quotas=_quotas({each.id: each for each in collections}),
        tier_quotas=_quotas({each.name: each for each in tiers}),
        weights=policy.Weights(
            collections={each.id: each.meant("weight") / _WHOLE for each in collections},
            tiers={each.name: each.meant("weight") / _WHOLE for each in tiers},
        ),
        pins=policy.Pins(
            frozenset(each.id for each in collections if each.pinned),
            frozenset(each.name for each in tiers if each.pinned),
            frozenset(
                (each.id, image.ordinal)
                for each in collections
                if each.pinned_images
                for image in images.images_by_key(each.id, each.pinned_images).values()
            ),
        ),
        allow_everything=given.meant("allow_everything"),
    )


def _recorded(folder: Folder) -> Policy:
    try:
        return Policy.model_validate_json(folder.policy or "{}")
    except ValidationError as error:
        # A later version may have recorded more: to evict without it could remove what it keeps.
        raise PolicyError(
            f"the policy of cache folder {folder.name} cannot be read: {error}"
        ) from error


def _quotas(limited: Mapping[str, CollectionPolicy | TierPolicy]) -> dict[str, int]:
    return {
        name: parse_quantity(each.max_bytes)
        for name, each in limited.items()
        if each.max_bytes is not None
    }
