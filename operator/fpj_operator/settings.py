"""What the person who installs the operator decides, from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from fpj_core.process.settings import prefixed, read_settings, setting, split

_TEMPLATE_ENV = ("TZ", "AWS_EC2_METADATA_DISABLED", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE")
"""None of them names a file or a program, or leads requests elsewhere."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Durations are seconds. What the docstrings say is in the chart's values too."""

    store_url: str = setting("FPJ_STORE")
    """``mongodb://…``: where results are recorded."""
    worker_image: str = setting("FPJ_WORKER_IMAGE")
    """Image of the worker pods, usually the operator's own."""
    store_secret: str = setting("FPJ_STORE_SECRET", "fpj-store")
    """Secret with the key ``url``, in each job's namespace: the store, for worker pods."""
    worker_store_url: str | None = setting("FPJ_WORKER_STORE", None)
    """Given to worker pods as plain text instead of a Secret; only for tests."""
    image_pull_policy: str = setting("FPJ_IMAGE_PULL_POLICY", "IfNotPresent")
    """Pull policy of worker pods."""
    image_pull_secrets: tuple[str, ...] = setting("FPJ_IMAGE_PULL_SECRETS", ())
    """Secrets, in each job's namespace, with which worker pods pull their image.

    Separated by commas.
    """
    namespaces: tuple[str, ...] = setting("FPJ_NAMESPACES", ())
    """Namespaces to watch, separated by commas; all if empty."""
    own_namespace: str = setting("FPJ_OWN_NAMESPACE", "default")
    """Where the leader's lease lives."""
    max_concurrent_jobs: int = setting("FPJ_MAX_CONCURRENT_JOBS", 10, least=1)
    """Active jobs at a time in one namespace; the rest queue by priority, then age."""
    lease_seconds: float = setting("FPJ_LEASE_SECONDS", 300.0, least=5)
    """How long a collection stays locked without being renewed."""
    check_seconds: float = setting("FPJ_CHECK_SECONDS", 15.0, least=0.5)
    """How often an active job is reconciled, in addition to every event."""
    stale_after_floor: float = setting("FPJ_STALE_AFTER", 0.0)
    """Overrides ``recovery.staleAfterSeconds`` where that is larger; only for tests."""
    child_ttl_seconds: int = setting("FPJ_CHILD_TTL_SECONDS", 600, least=60)
    """How long finished child Jobs are kept, so that their logs can be read."""
    worker_reports: bool = setting("FPJ_WORKER_REPORTS", default=True)
    """Whether workers get a token to report progress; otherwise the operator reports it."""
    reconcilers: int = setting("FPJ_RECONCILERS", 16, least=1)
    """Jobs reconciled at the same time."""
    leader_seconds: float = setting("FPJ_LEADER_SECONDS", 15.0, least=2)
    """A leader that does not renew its Lease for this long is replaced."""
    liveness_port: int = setting("FPJ_LIVENESS_PORT", 8080)
    """``/healthz``; 0 switches it off."""
    metrics_port: int = setting("FPJ_METRICS_PORT", 9090)
    """``/metrics``; 0 switches it off."""
    history_limit: int = setting("FPJ_HISTORY_LIMIT", 100)
    """Jobs of a collection whose records the store keeps after their resource was deleted.

    0 for no limit.
    """
    history_seconds: float = setting("FPJ_HISTORY_SECONDS", 2_592_000.0)
    """How long after a job's end it keeps them, with the list of failures; 0 means forever."""
    worker_user: int = setting("FPJ_WORKER_USER", 65_532)
    """User, group and ``fsGroup`` of worker pods.

    0 sets none, for clusters that assign them, such as OpenShift.
    """
    worker_host_users: bool = setting("FPJ_WORKER_HOST_USERS", default=True)
    """Whether worker pods share the node's user ids.

    If not (``hostUsers: false``), the nodes, and the file systems of all volumes, must be able to
    map ids; NFS is not.
    """
    template_volumes: tuple[str, ...] = setting(
        "FPJ_TEMPLATE_VOLUMES", ("emptyDir", "persistentVolumeClaim")
    )
    """Types of volumes that a job's ``workerTemplate`` may have, as in a pod.

    For this setting and those below, a comma alone stands for none.
    """
    template_mount_paths: tuple[str, ...] = setting(
        "FPJ_TEMPLATE_MOUNT_PATHS", ("/mnt", "/scratch")
    )
    """Folders at or below which these volumes may be mounted."""
    template_env: tuple[str, ...] = setting("FPJ_TEMPLATE_ENV", _TEMPLATE_ENV)
    """Environment variables that a ``workerTemplate`` may set: names,
    or prefixes of names that end in ``*``.
    """
    template_env_sources: tuple[str, ...] = setting("FPJ_TEMPLATE_ENV_SOURCES", ())
    """Sources (``valueFrom``, such as ``fieldRef``) that these variables may take their values
    from.
    """
    template_service_accounts: tuple[str, ...] = setting("FPJ_TEMPLATE_SERVICE_ACCOUNTS", ())
    """ServiceAccounts that a ``workerTemplate`` may name: names,
    or prefixes of names that end in ``*``.
    """
    worker_env: Mapping[str, str] = prefixed("FPJ_WORKER_ENV_<NAME>")
    """Extra environment of worker pods."""


def settings_from(environment: Mapping[str, str] = os.environ) -> OperatorSettings:
    """Read the settings.

    Raises `ManifestError` that names every variable that is missing or invalid.
    """
    return read_settings(OperatorSettings, environment)


def namespaces_from(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The namespaces alone, for commands that need nothing else."""
    return split(environment.get("FPJ_NAMESPACES", ""))
