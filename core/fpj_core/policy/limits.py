"""What derivatives add up to by folder, collection and tier, and the limits they are under."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fpj_core.model import Eviction
from fpj_core.policy.records import Kept, Policy, Reason, Shortfall


@dataclass(slots=True)
class Group:
    """What shares folder, collection and tier. Bytes that are neither expired nor kept may go."""

    number: int
    collection: str
    tier: str
    folder: str
    weight: float
    pinned: bool
    whole: bool
    """Whether a quota of its own limits it: which of its derivatives go is known at the end."""
    bytes: int = 0
    expired: int = 0
    kept: dict[Kept, int] = field(default_factory=lambda: dict.fromkeys(Kept, 0))


@dataclass(slots=True)
class Limit:
    """``excess``: bytes still to go, below 0 if some are to spare."""

    reason: Reason
    name: str
    excess: int
    groups: Sequence[Group]
    unknown: int = 0
    """Bytes of the folder that no derivative accounts for."""

    def short(self, eviction: Eviction) -> Shortfall | None:
        """What is not reached; None if all is."""
        if self.excess <= 0:
            return None
        kept = {Kept.UNKNOWN: self.unknown}
        for why in (Kept.BUSY, Kept.PINNED, Kept.TOO_YOUNG):
            kept[why] = sum(group.kept[why] for group in self.groups)
        if eviction is Eviction.NONE:
            staying = sum(group.bytes - group.expired for group in self.groups)
            kept[Kept.NO_EVICTION] = staying - sum(kept.values()) + self.unknown
        return Shortfall(
            self.reason, self.name, self.excess, {why: size for why, size in kept.items() if size}
        )


def limits_of(policy: Policy, groups: Sequence[Group], used: int) -> list[Limit]:
    """The limits that are exceeded once what has expired is gone.

    A folder's is its low watermark, if that leaves it above the high one.
    """
    collections, tiers = defaultdict[str, list[Group]](list), defaultdict[str, list[Group]](list)
    for group in groups:
        collections[group.collection].append(group)
        tiers[group.tier].append(group)
    found = [
        *_quotas(Reason.OVER_COLLECTION_QUOTA, policy.collection_quotas, collections),
        *_quotas(Reason.OVER_TIER_QUOTA, policy.tier_quotas, tiers),
    ]
    remaining = used - sum(group.expired for group in groups)
    if policy.high is not None and policy.low is not None and remaining > policy.high:
        unknown = max(used - sum(group.bytes for group in groups), 0)
        found.append(Limit(Reason.OVER_QUOTA, "", remaining - policy.low, groups, unknown))
    return [limit for limit in found if limit.excess > 0]


def by_group(limits: Iterable[Limit], groups: Sequence[Group]) -> list[list[Limit]]:
    """By a group's number, its limits."""
    found: list[list[Limit]] = [[] for _ in groups]
    for limit in limits:
        for group in limit.groups:
            found[group.number].append(limit)
    return found


def _quotas(
    reason: Reason, quotas: Mapping[str, int], members: Mapping[str, Sequence[Group]]
) -> Iterator[Limit]:
    for name, quota in sorted(quotas.items()):
        groups = members.get(name, ())
        yield Limit(reason, name, sum(g.bytes - g.expired for g in groups) - quota, groups)
