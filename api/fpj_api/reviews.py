"""Who somebody is, and what they may do: asked of the cluster, and remembered for some seconds.

Tokens themselves are kept nowhere; answers are found by a hash of theirs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fpj_api import metrics
from fpj_api.caches import JoinedCache
from fpj_core.cluster import Cluster, ClusterError, NoAnswerError

GROUP = "fpj.dev"
JOBS, FOLDERS, SCHEDULES = "fileprocessingjobs", "cachefolders", "fileprocessingschedules"
_MOST_USERS = 2_000
_MOST_DECISIONS = 20_000
_AT_ONCE = 16
_SECONDS = 10.0
_MOST_TOKEN = 16_384


@dataclass(frozen=True, slots=True)
class User:
    """As the cluster knows them. ``extra`` is what its authenticator adds: (key, values)."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """Whether somebody may do something; everywhere if the namespace is empty, to all if the name is."""

    user: User
    verb: str
    resource: str
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A token that belongs to nobody. Unlike None, it is an answer that can be remembered."""


class Reviewer:
    """Asks the cluster; both questions raise `ClusterError` where it gives no answer."""

    def __init__(self, cluster: Cluster, audiences: Sequence[str], seconds: float) -> None:
        self._cluster = cluster
        self._audiences = list(audiences)
        failures = (ClusterError,)
        self._users: JoinedCache[bytes, User | _Unknown] = JoinedCache(seconds, _MOST_USERS, failures=failures)
        self._decisions: JoinedCache[Question, bool] = JoinedCache(seconds, _MOST_DECISIONS, failures=failures)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def user(self, token: str) -> User | None:
        """Whose token it is; None for nobody's."""
        if not token or len(token) > _MOST_TOKEN:
            return None
        key = hashlib.sha256(token.encode()).digest()
        found = await self._users.get(key, lambda: self._ask_user(token))
        return found if isinstance(found, User) else None

    async def allowed(self, question: Question) -> bool:
        """Whether they may."""
        return await self._decisions.get(question, lambda: self._ask_allowed(question))

    async def _ask_user(self, token: str) -> User | _Unknown:
        spec: dict[str, Any] = {"token": token}
        if self._audiences:
            spec["audiences"] = self._audiences
        status = await self._review("TokenReview", spec)
        user = user_of(status, self._audiences)
        metrics.REVIEWS.labels("token", "yes" if user else "no").inc()
        return user or _Unknown()

    async def _ask_allowed(self, question: Question) -> bool:
        user = question.user
        attributes = {"group": GROUP, "version": "v1alpha1", "resource": question.resource, "verb": question.verb}
        attributes |= {"namespace": question.namespace, "name": question.name}
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra},
            "resourceAttributes": {key: value for key, value in attributes.items() if value},
        }
        allowed = (await self._review("SubjectAccessReview", spec)).get("allowed") is True
        metrics.REVIEWS.labels("access", "yes" if allowed else "no").inc()
        return allowed

    async def _review(self, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_SECONDS), self._turns:
                return await self._cluster.review(kind, spec)
        except TimeoutError as error:
            _failed(kind)
            raise NoAnswerError from error
        except ClusterError:
            _failed(kind)
            raise


def user_of(status: dict[str, Any], audiences: Sequence[str]) -> User | None:
    """Of a TokenReview's status. Where audiences were asked for, one of them must have been confirmed.

    An authenticator that knows nothing of audiences confirms none, and would let any token pass.
    """
    found = status.get("user") or {}
    if status.get("authenticated") is not True or not found.get("username"):
        return None
    if audiences and not set(audiences) & set(status.get("audiences") or ()):
        return None
    return User(
        name=str(found["username"]),
        uid=str(found.get("uid") or ""),
        groups=tuple(found.get("groups") or ()),
        extra=tuple(sorted((key, tuple(values or ())) for key, values in (found.get("extra") or {}).items())),
    )


def _failed(kind: str) -> None:
    metrics.REVIEWS.labels("token" if kind == "TokenReview" else "access", "failed").inc()
