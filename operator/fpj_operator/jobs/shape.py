"""Which edits of a spec need another attempt. Pure.

An attempt makes its outputs by one spec: its index Job plans by it, and its pods get it. So an
attempt carries a digest of the spec that it was started with, and an edit that changes the digest
ends it; the next one keeps what still fits. Only what acts without new pods and a new plan is left
out. A field that is not named here is part of the digest: a new one can be forgotten without making
a status false.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

from fpj_core.model import tier_digests
from fpj_core.v1alpha1 import (
    FileProcessingJobSpec,
    SkipCheck,
    resolve_limits,
    resolve_sharding,
    resolve_tiers,
)
from fpj_operator.jobs.state import Attempt

ACT_AT_ONCE = frozenset(
    {"suspend", "priority", "recovery", "active_deadline_seconds", "pre_running_deadline_seconds"}
    | {"ttl_seconds_after_finished", "max_failed_images", "deletion_policy"}
)
"""Fields of the spec that the operator decides by whenever it looks."""
SHARDING_LATER = frozenset(
    {"parallelism", "shard_size", "batch_size", "backoff_limit_per_shard", "max_failed_shards"}
)
"""Fields of `spec.sharding` that divide the work but change no output:
they count from the next Job or plan on.
"""
_SHARDING = SHARDING_LATER | {"workers_per_pod"}
_RESOLVED = frozenset(
    {"cache", "thumbnail", "job_type", "limits", "cache_folder", "skip_check", "force"}
)
"""Taken with their defaults, so that writing one down changes nothing."""


def spec_digest(spec: FileProcessingJobSpec, folder: str) -> str:
    """32 hex digits over what an attempt is made by.

    ``folder`` is the cache folder that it writes to.
    """
    rest = spec.model_dump(mode="json", exclude_none=True, exclude=set(ACT_AT_ONCE | _RESOLVED))
    sharding = rest.pop("sharding", {})
    made_by = {
        "tiers": list(tier_digests(resolve_tiers(spec)).items()),
        "limits": asdict(resolve_limits(spec)),
        "folder": folder,
        "files": spec.skip_check is not SkipCheck.RECORD,
        "force": bool(spec.force),
        "workers": resolve_sharding(spec, 0).workers_per_pod,
        "sharding": {name: value for name, value in sharding.items() if name not in _SHARDING},
        "rest": rest,
    }
    return hashlib.blake2b(json.dumps(made_by, sort_keys=True).encode(), digest_size=16).hexdigest()


def begun_by(attempt: Attempt, spec: FileProcessingJobSpec) -> Attempt:
    """The attempt with its digest, also if an earlier version of the operator began it."""
    if attempt.spec_digest:
        return attempt
    return replace(
        attempt, spec_digest=spec_digest(spec, spec.cache_folder or attempt.cache_folder)
    )


def fits(attempt: Attempt, spec: FileProcessingJobSpec) -> bool:
    """Whether the attempt is made by this spec.

    One that an earlier version of the operator began is taken as it is.
    """
    wanted = spec.cache_folder or attempt.cache_folder
    return not attempt.spec_digest or attempt.spec_digest == spec_digest(spec, wanted)
