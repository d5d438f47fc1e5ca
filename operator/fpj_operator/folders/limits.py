"""What a folder's spec means for its eviction. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fpj_core.kube.records import folder_record
from fpj_core.model import Eviction, ImageRecord
from fpj_core.policies import policy_of
from fpj_core.policy import Policy
from fpj_core.v1alpha1 import CacheFolder
from fpj_operator.folders.state import Holdings


class _NoImages:
    """Keys of pinned images are known to the store alone, and change no limit."""

    def images_by_key(self, _collection: str, _keys: Sequence[str]) -> dict[str, ImageRecord]:
        return {}


def policy_of_resource(folder: CacheFolder) -> Policy:
    """Its policy, without the images that it pins."""
    return policy_of(folder_record(folder), _NoImages())


def evicts(policy: Policy) -> bool:
    """Whether a run may remove anything at all."""
    return policy.ttl is not None or policy.chosen is not Eviction.NONE


def exceeded(policy: Policy, held: Holdings) -> bool:
    """Whether the folder holds more than it should, and something may go for that."""
    if policy.chosen is Eviction.NONE:
        return False
    limits = [
        (held.bytes, policy.high),
        *[(held.by_tier.get(name, (0, 0))[1], most) for name, most in policy.tier_quotas.items()],
        *[(held.limited.get(name, 0), most) for name, most in policy.collection_quotas.items()],
    ]
    return any(most is not None and used > most for used, most in limits)
