"""Who is allowed to do what. Nothing is said about a namespace to those who may not see it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence

from fpj_api.buckets import Buckets
from fpj_api.identities import User
from fpj_api.problems import ProblemError
from fpj_api.reviews import Question, Reviewer
from fpj_core.kube.names import GROUP, JOBS

VERBS = ("get", "list", "watch", "create", "patch", "delete", "deletecollection")
"""Of jobs, that requests here ask for."""
REVIEWS, REVIEWS_A_SECOND = 10_000, 50.0
"""Of namespaces, on behalf of one user: so many at once, so many a second."""
_AT_ONCE = 16
_HIDDEN_TIMES = 6
"""How much longer than other answers it is remembered that a namespace is not shown."""
_MOST_HIDING, _MOST_USERS = 300, 2_000

_Seer = tuple[User, str, str]
"""User, verb and resource."""


class Access:
    """Decisions of the cluster as problems, and as what somebody may see.

    ``served`` is empty for all namespaces.

    Whoever may do something everywhere is asked about once. Of all others each namespace is asked
    about, and those that they may not see are remembered for longer, so that many namespaces cost
    no review each at every request.
    """

    def __init__(
        self,
        reviewer: Reviewer,
        served: Sequence[str],
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reviewer = reviewer
        self._served = frozenset(served)
        self._hidden = _Hidden(_HIDDEN_TIMES * seconds, clock)
        self._asked = Buckets(REVIEWS, REVIEWS_A_SECOND, _MOST_USERS, clock)

    async def require(
        self, user: User, verb: str, resource: str, namespace: str, name: str = ""
    ) -> None:
        """Raise a problem unless they may: 403, or 404 where the namespace is not served."""
        if not await self._reviewer.allowed(Question(user, verb, resource, namespace, name)):
            raise forbidden(user, verb, resource, namespace)
        self._hidden.drop((user, verb, resource), namespace)
        if self._served and namespace not in self._served:
            raise ProblemError(404, f"namespace {namespace} is not served here")

    async def allowed(
        self, user: User, verb: str, resource: str, namespace: str, name: str = ""
    ) -> bool:
        """Whether they may, where it is known that they may see the namespace."""
        return await self._reviewer.allowed(Question(user, verb, resource, namespace, name))

    async def require_all(
        self, user: User, verb: str, resource: str, namespaces: Collection[str]
    ) -> None:
        """Raise a problem unless they may in every one of these."""
        if len(namespaces) > 1 and await self._everywhere(user, verb, resource):
            for namespace in sorted(namespaces):
                if self._served and namespace not in self._served:
                    raise ProblemError(404, f"namespace {namespace} is not served here")
            return
        self._spend(user, len(namespaces))
        for some in _in_parts(sorted(namespaces)):
            await asyncio.gather(
                *(self.require(user, verb, resource, namespace) for namespace in some)
            )

    async def visible(
        self, user: User, resource: str, among: Iterable[str], verb: str = "list"
    ) -> frozenset[str]:
        """The namespaces of these in which they may.

        Raises a problem (429) where that is too much to ask.
        """
        namespaces = sorted(set(among) & self._served if self._served else set(among))
        if await self._everywhere(user, verb, resource):
            return frozenset(namespaces)
        hidden = self._hidden.of((user, verb, resource))
        wanted = [namespace for namespace in namespaces if namespace not in hidden]
        self._spend(user, len(wanted))
        found: set[str] = set()
        for some in _in_parts(wanted):
            found |= await self._allowed(user, verb, resource, some)
        return frozenset(found)

    async def sees_any(
        self, user: User, resource: str, among: Iterable[str], verb: str = "list"
    ) -> bool:
        """Whether there is any namespace of these in which they may.

        Asks no longer than until one is found.
        """
        namespaces = sorted(set(among) & self._served if self._served else set(among))
        if await self._everywhere(user, verb, resource):
            return True
        hidden = self._hidden.of((user, verb, resource))
        for some in _in_parts([namespace for namespace in namespaces if namespace not in hidden]):
            self._spend(user, len(some))
            if await self._allowed(user, verb, resource, some):
                return True
        return False

    async def sees(self, user: User, resource: str, namespace: str, verb: str) -> bool:
        """Whether they may in one namespace, for what is asked again and again."""
        if await self._everywhere(user, verb, resource):
            return True
        if namespace in self._hidden.of((user, verb, resource)):
            return False
        return bool(await self._allowed(user, verb, resource, [namespace]))

    async def shown(
        self, user: User, resource: str, namespace: str | None, among: Iterable[str]
    ) -> frozenset[str]:
        """The namespaces that a list shows: the one asked for, which they must be allowed,
        or all they may see.
        """
        if namespace is None:
            return await self.visible(user, resource, among)
        await self.require(user, "list", resource, namespace)
        return frozenset({namespace})

    async def verbs(self, user: User, namespaces: Iterable[str]) -> dict[str, list[str]]:
        """What they may do with jobs, by namespace; those in which they may not even list are left
        out.
        """
        may = {verb: frozenset[str]() for verb in VERBS}
        seen = await self.visible(user, JOBS, namespaces)
        for verb in VERBS:
            may[verb] = await self.visible(user, JOBS, seen, verb)
        return {
            namespace: [verb for verb in VERBS if namespace in may[verb]]
            for namespace in sorted(seen)
        }

    async def _everywhere(self, user: User, verb: str, resource: str) -> bool:
        return await self._reviewer.allowed(Question(user, verb, resource))

    async def _allowed(
        self, user: User, verb: str, resource: str, namespaces: Sequence[str]
    ) -> set[str]:
        """Of a few namespaces; the others are remembered."""
        questions = [Question(user, verb, resource, namespace) for namespace in namespaces]
        answers = await asyncio.gather(*map(self._reviewer.allowed, questions))
        found = {namespace for namespace, yes in zip(namespaces, answers, strict=True) if yes}
        self._hidden.add((user, verb, resource), set(namespaces) - found)
        return found

    def _spend(self, user: User, reviews: int) -> None:
        amount, bucket = min(reviews, REVIEWS), self._asked.of(user.name)
        if not bucket.take(amount):
            again = {"Retry-After": str(math.ceil(bucket.seconds(amount)))}
            raise ProblemError(
                429, "too many namespaces to check; ask for one namespace", headers=again
            )


class _Hidden:
    """Namespaces that somebody may not see, for a while."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds, self._clock = seconds, clock
        self._until: OrderedDict[_Seer, dict[str, float]] = OrderedDict()

    def of(self, seer: _Seer) -> Collection[str]:
        """Those that need not be asked about now."""
        now, kept = self._clock(), self._until.get(seer, {})
        return {namespace for namespace, until in kept.items() if now < until}

    def add(self, seer: _Seer, namespaces: Iterable[str]) -> None:
        """What was just found."""
        kept = self._until.setdefault(seer, {})
        kept.update(dict.fromkeys(namespaces, self._clock() + self._seconds))
        self._until.move_to_end(seer)
        if len(self._until) > _MOST_HIDING:
            self._until.popitem(last=False)

    def drop(self, seer: _Seer, namespace: str) -> None:
        """It may be seen after all."""
        self._until.get(seer, {}).pop(namespace, None)


def _in_parts(namespaces: Sequence[str]) -> Iterable[Sequence[str]]:
    return (namespaces[start : start + _AT_ONCE] for start in range(0, len(namespaces), _AT_ONCE))


def forbidden(user: User, verb: str, resource: str, namespace: str = "") -> ProblemError:
    """In the words of kubectl."""
    what = f'resource "{resource}" in API group "{GROUP}"'
    where = (
        f'in the namespace "{namespace}"' if namespace else "in any namespace that the API knows"
    )
    return ProblemError(403, f'User "{user.name}" cannot {verb} {what} {where}')
