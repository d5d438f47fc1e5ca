"""What somebody may do: asked of the cluster, and remembered for some seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from fpj_api import metrics
from fpj_api.identities import User, review
from fpj_api.joinedcache import JoinedCache
from fpj_core.kube.api import Cluster
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.names import GROUP, VERSION

_MOST_DECISIONS = 20_000
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Question:
    """Whether somebody may do something; everywhere if the namespace is empty,
    to all if the name is.
    """

    user: User
    verb: str
    resource: str
    namespace: str = ""
    name: str = ""


class Reviewer:
    """Asks the cluster; raises `ClusterError` where it gives no answer."""

    def __init__(
        self, cluster: Cluster, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._decisions: JoinedCache[Question, bool] = JoinedCache(
            seconds, _MOST_DECISIONS, failures=(ClusterError,), clock=clock
        )
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def allowed(self, question: Question) -> bool:
        """Whether they may."""
        return await self._decisions.get(question, lambda: self._ask(question))

    async def _ask(self, question: Question) -> bool:
        user = question.user
        attributes = {
            "group": GROUP,
            "version": VERSION,
            "resource": question.resource,
            "verb": question.verb,
        }
        attributes |= {"namespace": question.namespace, "name": question.name}
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra},
            "resourceAttributes": {key: value for key, value in attributes.items() if value},
        }
        status = await review(self._cluster, "SubjectAccessReview", spec, self._turns)
        allowed = status.get("allowed") is True
        metrics.REVIEWS.labels("access", "yes" if allowed else "no").inc()
        return allowed
