"""What would be evicted from a cache folder now, by its records and its policy. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from fpj_core.leases import is_locked
from fpj_core.policy import Candidate, EvictionPlan, Policy, plan
from fpj_core.store.protocol import Store, nothing

Spares = Callable[[str, str], bool]
"""Whether what is of a collection and a tier stays as if it were pinned."""


def spares_none(_collection: str, _tier: str) -> bool:
    """Leave the choice to the policy."""
    return False


def plan_folder(
    store: Store,
    folder: str,
    policy: Policy,
    on_step: Callable[[], None] = nothing,
    spares: Spares = spares_none,
) -> tuple[EvictionPlan, frozenset[str]]:
    """What would go from the folder of this name, and the collections that a job holds: what is of
    those stays.

    ``on_step`` is called every few thousand derivatives; what it raises ends the planning. Raises
    `PolicyError` and `StoreError`.
    """
    amounts = store.folder_amounts(folder)
    used = sum(size for _, size in amounts.values())
    collections = sorted({collection for collection, _ in amounts})
    busy = frozenset(each for each in collections if is_locked(store, each))
    candidates = _candidates(store, folder, collections, busy, on_step, spares)
    return plan(candidates, used, policy, store.now()), busy


def _candidates(
    store: Store,
    folder: str,
    collections: Iterable[str],
    held: Collection[str],
    on_step: Callable[[], None],
    spares: Spares,
) -> Iterator[Candidate]:
    for collection in collections:
        busy = collection in held
        for each in store.contents(folder, collection, on_step):
            yield Candidate(
                collection,
                each.ordinal,
                each.tier,
                folder,
                "",  # the plan does not need it, and a removal reads it again
                each.bytes,
                each.cost_ms,
                each.created_at,
                pinned=spares(collection, each.tier),
                busy=busy,
            )
