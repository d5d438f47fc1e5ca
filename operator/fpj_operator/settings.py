"""What the person who installs the operator decides, from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from fpj_core.errors import ManifestError


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Durations are seconds."""

    store_url: str
    """``mongodb://…``: where results are recorded. ``FPJ_STORE``."""
    worker_image: str
    """Image of the worker pods, as a rule the operator's own. ``FPJ_WORKER_IMAGE``."""
    store_secret: str = "fpj-store"  # noqa: S105 - a name, not a secret
    """Secret with the key ``url``, in each job's namespace: the store, for worker pods. ``FPJ_STORE_SECRET``."""
    worker_store_url: str | None = None
    """Given to worker pods as plain text instead of a Secret; only for tests. ``FPJ_WORKER_STORE``."""
    image_pull_policy: str = "IfNotPresent"
    """``FPJ_IMAGE_PULL_POLICY``."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch, separated by commas; all if empty. ``FPJ_NAMESPACES``."""
    own_namespace: str = "default"
    """Where the leader's lease lives. ``FPJ_OWN_NAMESPACE``."""
    max_concurrent_jobs: int = 10
    """Jobs at work at a time in one namespace; the rest queue by priority, then age. ``FPJ_MAX_CONCURRENT_JOBS``."""
    lease_seconds: float = 300.0
    """How long a collection stays locked without being renewed. ``FPJ_LEASE_SECONDS``."""
    check_seconds: float = 15.0
    """How often an active job is looked at, beside every event. ``FPJ_CHECK_SECONDS``."""
    stale_after_floor: float = 0.0
    """Overrides ``recovery.staleAfterSeconds`` where that is larger; only for tests. ``FPJ_STALE_AFTER``."""
    child_ttl_seconds: int = 600
    """How long finished child Jobs stay for a look at their logs. ``FPJ_CHILD_TTL_SECONDS``."""
    worker_reports: bool = True
    """Whether workers get a token to report progress; else the operator does. ``FPJ_WORKER_REPORTS``."""
    reconcilers: int = 16
    """Jobs reconciled at the same time. ``FPJ_RECONCILERS``."""
    leader_seconds: float = 15.0
    """A leader silent for so long is replaced. ``FPJ_LEADER_SECONDS``."""
    liveness_port: int = 8080
    """``FPJ_LIVENESS_PORT``."""
    metrics_port: int = 9090
    """0 switches metrics off. ``FPJ_METRICS_PORT``."""
    worker_env: Mapping[str, str] = field(default_factory=dict)
    """Extra environment of worker pods: every ``FPJ_WORKER_ENV_<NAME>``."""


_PREFIX = "FPJ_WORKER_ENV_"
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")


def settings_from(environment: Mapping[str, str] = os.environ) -> OperatorSettings:
    """Read the settings. Raises `ManifestError` that names every variable that is missing or makes no sense."""
    reader = _Reader(environment)
    settings = OperatorSettings(
        store_url=reader.text("FPJ_STORE"),
        worker_image=reader.text("FPJ_WORKER_IMAGE"),
        store_secret=reader.text("FPJ_STORE_SECRET", "fpj-store"),
        worker_store_url=environment.get("FPJ_WORKER_STORE") or None,
        image_pull_policy=reader.text("FPJ_IMAGE_PULL_POLICY", "IfNotPresent"),
        namespaces=tuple(name.strip() for name in environment.get("FPJ_NAMESPACES", "").split(",") if name.strip()),
        own_namespace=reader.text("FPJ_OWN_NAMESPACE", "default"),
        max_concurrent_jobs=int(reader.number("FPJ_MAX_CONCURRENT_JOBS", 10, 1)),
        lease_seconds=reader.number("FPJ_LEASE_SECONDS", 300, 5),
        check_seconds=reader.number("FPJ_CHECK_SECONDS", 15, 0.5),
        stale_after_floor=reader.number("FPJ_STALE_AFTER", 0, 0),
        child_ttl_seconds=int(reader.number("FPJ_CHILD_TTL_SECONDS", 600, 60)),
        worker_reports=reader.flag("FPJ_WORKER_REPORTS", default=True),
        reconcilers=int(reader.number("FPJ_RECONCILERS", 16, 1)),
        leader_seconds=reader.number("FPJ_LEADER_SECONDS", 15, 2),
        liveness_port=int(reader.number("FPJ_LIVENESS_PORT", 8080, 0)),
        metrics_port=int(reader.number("FPJ_METRICS_PORT", 9090, 0)),
        worker_env={name[len(_PREFIX) :]: value for name, value in environment.items() if name.startswith(_PREFIX)},
    )
    if reader.problems:
        raise ManifestError(reader.problems)
    return settings


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(name) or default
        if value is None:
            self.problems.append(f"{name} must be set")
        return value or ""

    def number(self, name: str, default: float, least: float) -> float:
        given = self._environment.get(name) or str(default)
        try:
            value = float(given)
        except ValueError:
            value = least - 1
        if not least <= value < float("inf"):
            self.problems.append(f"{name}: {given!r} is no number of at least {least:g}")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        given = (self._environment.get(name) or str(default)).lower()
        if given not in (*_TRUE, *_FALSE):
            self.problems.append(f"{name}: {given!r} is neither true nor false")
        return given in _TRUE
