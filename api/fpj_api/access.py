"""Who is let do what. Nothing is said about a namespace to those who may not see it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from fpj_api.identities import User
from fpj_api.problems import ProblemError
from fpj_api.reviews import GROUP, JOBS, Question, Reviewer

VERBS = ("get", "list", "watch", "create", "patch", "delete", "deletecollection")
"""Of jobs, that requests here ask for."""
_AT_ONCE = 16


class Access:
    """Decisions of the cluster as problems, and as what somebody may see. ``served`` is empty for all namespaces."""

    def __init__(self, reviewer: Reviewer, served: Sequence[str]) -> None:
        self._reviewer = reviewer
        self._served = frozenset(served)

    async def require(self, user: User, verb: str, resource: str, namespace: str, name: str = "") -> None:
        """Raise a problem unless they may: 403, or 404 where the namespace is not served."""
        if not await self._reviewer.allowed(Question(user, verb, resource, namespace, name)):
            raise forbidden(user, verb, resource, namespace)
        if self._served and namespace not in self._served:
            raise ProblemError(404, f"namespace {namespace} is not served here")

    async def visible(self, user: User, resource: str, among: Iterable[str], verb: str = "list") -> frozenset[str]:
        """The namespaces of these in which they may."""
        namespaces = sorted(set(among) & self._served if self._served else set(among))
        if await self._reviewer.allowed(Question(user, verb, resource)):
            return frozenset(namespaces)
        found: set[str] = set()
        for start in range(0, len(namespaces), _AT_ONCE):
            some = namespaces[start : start + _AT_ONCE]
            questions = [Question(user, verb, resource, namespace) for namespace in some]
            allowed = await asyncio.gather(*map(self._reviewer.allowed, questions))
            found |= {namespace for namespace, yes in zip(some, allowed, strict=True) if yes}
        return frozenset(found)

    async def shown(self, user: User, resource: str, namespace: str | None, among: Iterable[str]) -> frozenset[str]:
        """The namespaces that a list shows: the one asked for, which they must be allowed, or all they may see."""
        if namespace is None:
            return await self.visible(user, resource, among)
        await self.require(user, "list", resource, namespace)
        return frozenset({namespace})

    async def verbs(self, user: User, namespaces: Iterable[str]) -> dict[str, list[str]]:
        """What they may do with jobs, by namespace; those in which they may not even list are left out."""
        may = {verb: frozenset[str]() for verb in VERBS}
        seen = await self.visible(user, JOBS, namespaces)
        for verb in VERBS:
            may[verb] = await self.visible(user, JOBS, seen, verb)
        return {namespace: [verb for verb in VERBS if namespace in may[verb]] for namespace in sorted(seen)}


def forbidden(user: User, verb: str, resource: str, namespace: str) -> ProblemError:
    """In the words of kubectl."""
    what = f'resource "{resource}" in API group "{GROUP}"'
    return ProblemError(403, f'User "{user.name}" cannot {verb} {what} in the namespace "{namespace}"')
