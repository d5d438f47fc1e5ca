"""What the person who installs the operator decides, from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, get_type_hints

from fpj_core.errors import ManifestError


def _from(variable: str, default: Any = MISSING, *, least: float = 0.0) -> Any:
    """A setting read from a variable; required without a default. ``least`` bounds numbers."""
    metadata = {"variable": variable, "least": least}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Durations are seconds. What the docstrings say is in the chart's values too."""

    store_url: str = _from("FPJ_STORE")
    """``mongodb://…``: where results are recorded."""
    worker_image: str = _from("FPJ_WORKER_IMAGE")
    """Image of the worker pods, as a rule the operator's own."""
    store_secret: str = _from("FPJ_STORE_SECRET", "fpj-store")
    """Secret with the key ``url``, in each job's namespace: the store, for worker pods."""
    worker_store_url: str | None = _from("FPJ_WORKER_STORE", None)
    """Given to worker pods as plain text instead of a Secret; only for tests."""
    image_pull_policy: str = _from("FPJ_IMAGE_PULL_POLICY", "IfNotPresent")
    """Of worker pods."""
    image_pull_secrets: tuple[str, ...] = _from("FPJ_IMAGE_PULL_SECRETS", ())
    """Secrets, in each job's namespace, by which worker pods pull their image; separated by commas."""
    namespaces: tuple[str, ...] = _from("FPJ_NAMESPACES", ())
    """Namespaces to watch, separated by commas; all if empty."""
    own_namespace: str = _from("FPJ_OWN_NAMESPACE", "default")
    """Where the leader's lease lives."""
    max_concurrent_jobs: int = _from("FPJ_MAX_CONCURRENT_JOBS", 10, least=1)
    """Jobs at work at a time in one namespace; the rest queue by priority, then age."""
    lease_seconds: float = _from("FPJ_LEASE_SECONDS", 300.0, least=5)
    """How long a collection stays locked without being renewed."""
    check_seconds: float = _from("FPJ_CHECK_SECONDS", 15.0, least=0.5)
    """How often an active job is looked at, beside every event."""
    stale_after_floor: float = _from("FPJ_STALE_AFTER", 0.0)
    """Overrides ``recovery.staleAfterSeconds`` where that is larger; only for tests."""
    child_ttl_seconds: int = _from("FPJ_CHILD_TTL_SECONDS", 600, least=60)
    """How long finished child Jobs stay for a look at their logs."""
    worker_reports: bool = _from("FPJ_WORKER_REPORTS", default=True)
    """Whether workers get a token to report progress; else the operator does."""
    reconcilers: int = _from("FPJ_RECONCILERS", 16, least=1)
    """Jobs reconciled at the same time."""
    leader_seconds: float = _from("FPJ_LEADER_SECONDS", 15.0, least=2)
    """A leader silent for so long is replaced."""
    liveness_port: int = _from("FPJ_LIVENESS_PORT", 8080)
    """``/healthz``; 0 switches it off."""
    metrics_port: int = _from("FPJ_METRICS_PORT", 9090)
    """``/metrics``; 0 switches it off."""
    worker_env: Mapping[str, str] = field(default_factory=dict, metadata={"variable": "FPJ_WORKER_ENV_<NAME>"})
    """Extra environment of worker pods."""


_PREFIX = "FPJ_WORKER_ENV_"
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")


def settings_from(environment: Mapping[str, str] = os.environ) -> OperatorSettings:
    """Read the settings. Raises `ManifestError` that names every variable that is missing or makes no sense."""
    types = get_type_hints(OperatorSettings)
    reader = _Reader(environment)
    read = {each.name: reader.read(each, types[each.name]) for each in fields(OperatorSettings)}
    if reader.problems:
        raise ManifestError(reader.problems)
    return OperatorSettings(**read)


def namespaces_from(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The namespaces alone, for commands that need nothing else."""
    return _split(environment.get("FPJ_NAMESPACES", ""))


def _split(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def read(self, setting: Field[Any], kind: Any) -> Any:
        """The setting's value; its default for a variable that is not set, or is empty."""
        variable = setting.metadata["variable"]
        if kind == Mapping[str, str]:
            given = self._environment.items()
            return {name[len(_PREFIX) :]: value for name, value in given if name.startswith(_PREFIX)}
        text = self._environment.get(variable)
        if not text:
            if setting.default is MISSING:
                self.problems.append(f"{variable} must be set")
            return setting.default
        if kind in (int, float):
            return kind(self._number(variable, text, setting.metadata["least"]))
        if kind is bool:
            return self._flag(variable, text)
        if kind == tuple[str, ...]:
            return _split(text)
        return text

    def _number(self, variable: str, text: str, least: float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value < float("inf"):
            self.problems.append(f"{variable}: {text!r} is no number of at least {least:g}")
            return least
        return value

    def _flag(self, variable: str, text: str) -> bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            self.problems.append(f"{variable}: {text!r} is neither true nor false")
        return text.lower() in _TRUE
