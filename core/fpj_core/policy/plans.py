"""Which derivatives of a folder to remove, in which order, and why. Pure.

1. What has expired goes, the oldest first.
2. Then, by ascending priority, each derivative goes that is under an exceeded limit: the quota of
   its collection, of its tier, or the folder's low watermark.
3. Going back from the last of these, each is spared that the others made unnecessary: a large one
   at the end may free more than was lacking.

So without any one of the victims of steps 2 and 3 a limit would be exceeded. Ties are broken by
collection, ordinal and tier; the order of the candidates does not matter.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from typing_extensions import override

from fpj_core.errors import PlanRemovesEverythingError, PolicyError
from fpj_core.policy.census import Census
from fpj_core.policy.limits import Group, Limit, by_group, limits_of
from fpj_core.policy.priority import END_OF_TIME
from fpj_core.policy.records import MOST, Candidate, Policy, Reason, Shortfall, Victim
from fpj_core.policy.rows import Rows

_REASONS = tuple(Reason)


class _Chosen:
    """Rows to remove in their order, each with a reason: 5 bytes beside the row itself."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.order, self.reasons = rows, array("I"), array("B")

    def append(self, row: int, reason: int) -> None:
        """``reason`` is an index into _REASONS."""
        self.order.append(row)
        self.reasons.append(reason)

    @property
    def bytes(self) -> int:
        return sum(map(self.rows.sizes.__getitem__, self.order))

    def victims(self, groups: Sequence[Group]) -> Iterator[Victim]:
        rows = self.rows
        for row, reason in zip(self.order, self.reasons, strict=True):
            group = groups[rows.groups[row]]
            yield Victim(
                group.folder,
                group.collection,
                rows.ordinals[row],
                group.tier,
                rows.sizes[row],
                _REASONS[reason],
            )


@dataclass(frozen=True, eq=False)
class EvictionPlan:
    """What to remove, in order: ``victims()``. ``freed``: bytes of all of them.

    ``shortfalls`` are the limits that are exceeded even then. ``seen``: derivatives looked at.
    """

    freed: int
    shortfalls: tuple[Shortfall, ...]
    seen: int
    _groups: Sequence[Group]
    _chosen: tuple[_Chosen, ...]

    def __len__(self) -> int:
        return sum(len(chosen.order) for chosen in self._chosen)

    def victims(self) -> Iterator[Victim]:
        """Made while they are taken, so a plan of millions stays small. May be called again."""
        for chosen in self._chosen:
            yield from chosen.victims(self._groups)

    @property
    def short_by(self) -> int:
        """Bytes that the folder holds above its low watermark even then."""
        return sum(each.short_by for each in self.shortfalls if each.limit is Reason.OVER_QUOTA)

    @override
    def __repr__(self) -> str:
        return f"EvictionPlan({len(self)} of {self.seen}, freed={self.freed}, {self.shortfalls})"


def plan(candidates: Iterable[Candidate], used: int, policy: Policy, now: float) -> EvictionPlan:
    """What to remove from a folder that holds ``used`` bytes.

    ``candidates`` are walked once, are all derivatives of the folder, each once, in any order.
    Raises PolicyError for numbers that are invalid, PlanRemovesEverythingError if nothing would be
    left and the policy does not allow that.
    """
    if not 0 <= used <= MOST:
        raise PolicyError(f"the folder is said to hold {used} bytes; it must be 0 to {MOST}")
    if not 0 <= now < END_OF_TIME:
        raise PolicyError(f"now is {now}; it must be seconds since the epoch, below 2**34")
    census = Census(policy, used, now)
    census.count(candidates)
    groups = census.groups
    names = [(group.collection, group.tier) for group in groups]
    limits = limits_of(policy, groups, used)
    expired = _Chosen(census.expired)
    for row in census.expired.ordered(names):
        expired.append(row, _REASONS.index(Reason.EXPIRED))
    evicted = _choose(census.evictable, names, by_group(limits, groups))
    _ensure_something_stays(policy, census.seen, expired, evicted)
    short = (limit.short(policy.chosen) for limit in limits)
    return EvictionPlan(
        expired.bytes + evicted.bytes,
        tuple(each for each in short if each is not None),
        census.seen,
        groups,
        (expired, evicted),
    )


def _choose(
    rows: Rows, names: Sequence[tuple[str, str]], limits: Sequence[Sequence[Limit]]
) -> _Chosen:
    chosen, sizes, groups = _Chosen(rows), rows.sizes, rows.groups
    codes = {id(limit): _REASONS.index(limit.reason) for over in limits for limit in over}
    needed = array("I")
    for row in reversed(_taken(rows, names, limits)):
        size, over = sizes[row], limits[groups[row]]
        for limit in over:
            if limit.excess + size > 0:
                needed.append(row)
                break
        else:
            for limit in over:
                limit.excess += size
    for row in reversed(needed):  # by what stays in the end, which was not known before
        size, over = sizes[row], limits[groups[row]]
        reason = next(codes[id(limit)] for limit in over if limit.excess + size > 0)
        chosen.append(row, reason)
    return chosen


def _taken(
    rows: Rows, names: Sequence[tuple[str, str]], limits: Sequence[Sequence[Limit]]
) -> array[int]:
    """Rows by priority until no limit is exceeded; those that are under none that is stay."""
    taken, sizes, groups = array("I"), rows.sizes, rows.groups
    exceeded = {id(limit) for over in limits for limit in over}
    for row in rows.ordered(names) if exceeded else ():
        size, over = sizes[row], limits[groups[row]]
        for limit in over:
            if limit.excess > 0:
                break
        else:
            continue
        taken.append(row)
        for limit in over:
            limit.excess -= size
            if limit.excess <= 0:
                exceeded.discard(id(limit))
        if not exceeded:
            break
    return taken


def _ensure_something_stays(policy: Policy, seen: int, *chosen: _Chosen) -> None:
    removed = sum(len(each.order) for each in chosen)
    if removed and removed == seen and not policy.allow_everything:
        raise PlanRemovesEverythingError(seen, sum(each.bytes for each in chosen))
