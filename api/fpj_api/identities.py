"""Whose tokens are: asked of the cluster, and remembered for some seconds.

Tokens of people who were known before are asked about apart from all others, so that whoever sends
random tokens keeps nobody out. Of unknown tokens only a few are asked about at a time, and of each
address only so many that belong to nobody; what is more is refused at once. Tokens themselves are
kept nowhere; answers are found by a hash of theirs.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fpj_api import metrics
from fpj_api.addresses import network_of
from fpj_api.buckets import Buckets
from fpj_api.joinedcache import JoinedCache
from fpj_api.problems import ProblemError, unavailable
from fpj_core.kube.api import Cluster
from fpj_core.kube.errors import ClusterError, NoAnswerError

AT_ONCE, WAITING = 8, 64
"""Reviews of unknown tokens."""
FAILURES, FAILURES_A_SECOND = 50, 0.5
"""Tokens of nobody that an address may send: so many at once, so many a second."""
_KNOWN_AT_ONCE = 16
_MOST_KNOWN, _MOST_UNKNOWN, _MOST_ADDRESSES = 2_000, 2_000, 10_000
_SECONDS = 10.0
_MOST_TOKEN = 16_384


@dataclass(frozen=True, slots=True)
class User:
    """As the cluster knows them. ``extra`` is what its authenticator adds: (key, values)."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def home(self) -> frozenset[str]:
        """The namespace of a service account; none of anybody else."""
        kind, _, rest = self.name.partition("serviceaccount:")
        return frozenset({rest.partition(":")[0]}) if kind == "system:" else frozenset()


@dataclass(frozen=True, slots=True)
class _Nobody:
    """A token that belongs to nobody. Unlike None, it is an answer that can be remembered."""


_Answers = JoinedCache[bytes, User | _Nobody]


class Identities:
    """Asks the cluster whose a token is.

    Args:
        cluster: who is asked.
        audiences: of which a token must have one; the API server's own if empty.
        seconds: how long an answer is remembered.
        jwt_only: whether what has not the shape of a JWT belongs to nobody.
    """

    def __init__(
        self,
        cluster: Cluster,
        audiences: Sequence[str],
        seconds: float,
        *,
        jwt_only: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._audiences, self._jwt_only = cluster, list(audiences), jwt_only
        failures = (ClusterError,)
        self._known: _Answers = JoinedCache(seconds, _MOST_KNOWN, failures=failures, clock=clock)
        self._strangers: _Answers = JoinedCache(
            seconds, _MOST_UNKNOWN, failures=failures, clock=clock
        )
        self._failed = Buckets(FAILURES, FAILURES_A_SECOND, _MOST_ADDRESSES, clock)
        self._known_turns, self._turns = (
            asyncio.Semaphore(_KNOWN_AT_ONCE),
            asyncio.Semaphore(AT_ONCE),
        )
        self._signing_in = 0

    def __len__(self) -> int:
        return len(self._known) + len(self._strangers)

    async def user(self, token: str, address: str = "") -> User | None:
        """Whose token it is; None for nobody's.

        Raises `ClusterError` where the cluster gives no answer, and a problem (429, 503) where it
        is not asked.
        """
        if not token or len(token) > _MOST_TOKEN:
            return None
        key = hashlib.sha256(token.encode()).digest()
        if key in self._known:
            found = await self._known.get(key, lambda: self._review(token, self._known_turns))
            if not isinstance(found, User):  # not any more
                self._known.drop(key)
                self._strangers.put(key, found)
        elif self._jwt_only and not looks_like_a_jwt(token):
            metrics.REFUSED_TOKENS.labels("shape").inc()
            return None
        else:
            found = await self._strangers.get(key, lambda: self._sign_in(token, address))
            if isinstance(found, User):
                self._strangers.drop(key)
                self._known.put(key, found)
        return found if isinstance(found, User) else None

    async def _sign_in(self, token: str, address: str) -> User | _Nobody:
        """Whose an unknown token is, unless that is too much to ask."""
        if self._signing_in >= AT_ONCE + WAITING:
            metrics.REFUSED_TOKENS.labels("busy").inc()
            raise unavailable("too many sign-ins at a time; try again")
        failed = self._failed.of(network_of(address))
        if not failed.take():
            metrics.REFUSED_TOKENS.labels("address").inc()
            again = {"Retry-After": str(math.ceil(failed.seconds()) + 1)}
            raise ProblemError(
                429, "too many invalid tokens from this address; try again later", headers=again
            )
        found: User | _Nobody | None = None
        self._signing_in += 1
        try:
            found = await self._review(token, self._turns)
        finally:
            self._signing_in -= 1
            if not isinstance(found, _Nobody):
                failed.give_back()
        return found

    async def _review(self, token: str, turns: asyncio.Semaphore) -> User | _Nobody:
        spec: dict[str, Any] = {"token": token} | (
            {"audiences": self._audiences} if self._audiences else {}
        )
        status = await review(self._cluster, "TokenReview", spec, turns)
        user = user_of(status, self._audiences)
        metrics.REVIEWS.labels("token", "yes" if user else "no").inc()
        return user or _Nobody()


async def review(
    cluster: Cluster, kind: str, spec: dict[str, Any], turns: asyncio.Semaphore
) -> dict[str, Any]:
    """The status of a review, asked for when its turn comes.

    Raises `ClusterError` where none comes in time.
    """
    try:
        async with asyncio.timeout(_SECONDS), turns:
            return await cluster.review(kind, spec)
    except (TimeoutError, ClusterError) as error:
        metrics.REVIEWS.labels("token" if kind == "TokenReview" else "access", "failed").inc()
        if isinstance(error, TimeoutError):
            raise NoAnswerError from error
        raise


def user_of(status: dict[str, Any], audiences: Sequence[str]) -> User | None:
    """Of a TokenReview's status.

    Where audiences were asked for, one of them must have been confirmed.

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
        extra=tuple(
            sorted((key, tuple(values or ())) for key, values in (found.get("extra") or {}).items())
        ),
    )


def looks_like_a_jwt(token: str) -> bool:
    """Whether it has the shape of a signed JWT: what a service account or OpenID Connect gives."""
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        return False
    try:
        header, payload = (
            json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            for part in parts[:2]
        )
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(header, dict)
        and isinstance(payload, dict)
        and header.get("alg", "none") != "none"
    )
