"""One walk over the candidates: what each group holds, and which of them may have to go.

What is held meanwhile is bounded by the bytes to free, not by the folder: of the derivatives that
no quota of a collection or a tier limits, those are forgotten that could not be reached even if
nothing had expired.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from fpj_core.errors import PolicyError
from fpj_core.model import Eviction, Since
from fpj_core.policy.limits import Group
from fpj_core.policy.priority import END_OF_TIME, priority_of
from fpj_core.policy.records import MOST, Candidate, Kept, Policy
from fpj_core.policy.rows import Rows

_ROWS = 2**20
"""So many rows are held before the first are forgotten: 20 MB."""
_MOST_COST = 2.0**53
"""So that no priority overflows."""


class Census:
    """What a plan is made from."""

    def __init__(self, policy: Policy, used: int, now: float) -> None:
        self.seen = 0
        self.expired, self.evictable = Rows(), Rows()
        self._policy, self._now = policy, now
        self._pinned, self._least, self._ttl = policy.pins.images, policy.minimum_age, policy.ttl
        self._by_creation = policy.ttl_since is Since.CREATION
        self._evicts = policy.chosen is not Eviction.NONE
        self._priority = priority_of(policy, now)
        self._groups: dict[tuple[str, str, str], Group] = {}
        self._need = _most_to_free(policy, used)
        self._edge = inf if self._need else -inf
        self._look_at = _ROWS

    @property
    def groups(self) -> list[Group]:
        """By number."""
        return list(self._groups.values())

    def count(self, candidates: Iterable[Candidate]) -> None:
        """Take them in. Raises PolicyError for one that is invalid."""
        groups, kept, expires, weigh = self._groups, self._kept, self._expires, self._weigh
        for candidate in candidates:
            key = candidate.folder, candidate.collection, candidate.tier
            group = groups.get(key)
            if group is None:
                group = groups[key] = self._new_group(*key)
            last = last_access(candidate)
            self.seen += 1
            group.bytes += candidate.bytes
            if (why := kept(candidate, group)) is not None:
                group.kept[why] += candidate.bytes
            elif not expires(candidate, group, last):
                weigh(candidate, group, last)

    def _kept(self, candidate: Candidate, group: Group) -> Kept | None:
        """Why it must stay, whatever the policy asks for."""
        if candidate.busy:
            return Kept.BUSY
        if candidate.pinned or group.pinned:
            return Kept.PINNED
        if self._pinned and (candidate.collection, candidate.ordinal) in self._pinned:
            return Kept.PINNED
        least = self._least
        return Kept.TOO_YOUNG if least and self._now - candidate.created_at < least else None

    def _expires(self, candidate: Candidate, group: Group, last: float) -> bool:
        if self._ttl is None:
            return False
        since = candidate.created_at if self._by_creation else last
        if self._now - since < self._ttl:
            return False
        group.expired += candidate.bytes
        self.expired.add(since, group.number, candidate.ordinal, candidate.bytes)
        return True

    def _weigh(self, candidate: Candidate, group: Group, last: float) -> None:
        """Hold it if it may have to go. One without bytes frees nothing."""
        if not (self._need or group.whole) or not candidate.bytes or not self._evicts:
            return
        priority = self._priority(candidate, last, group.weight)
        if priority <= self._edge or group.whole:
            self.evictable.add(priority, group.number, candidate.ordinal, candidate.bytes)
            if len(self.evictable.groups) >= self._look_at:
                self._forget()

    def _forget(self) -> None:
        if self._need:
            self._edge = self.evictable.edge(self._need)
            whole = [group.whole for group in self._groups.values()]
            self.evictable.forget(self._edge, whole)
        self._look_at = max(_ROWS, 2 * len(self.evictable))

    def _new_group(self, folder: str, collection: str, tier: str) -> Group:
        policy = self._policy
        return Group(
            len(self._groups),
            collection,
            tier,
            folder,
            policy.weights.of(folder, collection, tier),
            pinned=collection in policy.pins.collections or tier in policy.pins.tiers,
            whole=collection in policy.collection_quotas or tier in policy.tier_quotas,
        )


def last_access(candidate: Candidate) -> float:
    """When it was last asked for, or made.

    Raises PolicyError for a candidate that is invalid; no comparison holds for NaN.
    """
    accessed, created = candidate.accessed_at, candidate.created_at
    last = created if accessed is None else accessed
    if (
        0 <= candidate.bytes <= MOST
        and 0 <= candidate.ordinal <= MOST
        and 0 <= candidate.cost_ms <= _MOST_COST
        and 0 <= candidate.frequency <= _MOST_COST
        and 0 <= created < END_OF_TIME
        and 0 <= last < END_OF_TIME
    ):
        return max(created, last)
    raise PolicyError(
        f"invalid derivative, {candidate!r}: bytes and ordinal must be 0 to {MOST}, cost and"
        " frequency 0 to 2**53, times 0 to 2**34"
    )


def _most_to_free(policy: Policy, used: int) -> int:
    if policy.high is None or policy.low is None or used <= policy.high:
        return 0
    return used - policy.low
