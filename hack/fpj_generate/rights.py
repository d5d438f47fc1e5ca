"""Who may do what: operator, API, whoever cleans up after them, and people.

Written once, for `deploy/` and the chart.

Every right has its use beside it. tests/integration/test_rights.py takes each away and sees what
breaks, and compares what the life of jobs asks of the API server with what is granted.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from fpj_core.kube.names import GROUP

RBAC = "rbac.authorization.k8s.io"


class Where(Enum):
    """In which namespaces a right is needed."""

    OWN = "the operator's own namespace"
    JOBS = "each namespace with jobs"
    CLUSTER = "the whole cluster"


@dataclass(frozen=True, slots=True)
class Right:
    """A rule of a role; resources and verbs are separated by spaces."""

    group: str
    resources: str
    verbs: str
    where: Where

    @property
    def rule(self) -> dict[str, Any]:
        """As a Role has it."""
        return {
            "apiGroups": [self.group],
            "resources": self.resources.split(),
            "verbs": self.verbs.split(),
        }


OPERATOR: tuple[Right, ...] = (
    # create: a schedule's runs; patch: to take off an earlier version's finalizer;
    # delete: time to live, and a schedule's history
    Right(GROUP, "fileprocessingjobs", "get list watch create patch delete", Where.JOBS),
    Right(
        GROUP,
        "fileprocessingjobs/status cachefolders/status fileprocessingschedules/status"
        " cachepurges/status",
        "patch",
        Where.JOBS,
    ),
    Right(GROUP, "cachefolders", "get list watch", Where.JOBS),
    Right(GROUP, "fileprocessingschedules", "get list watch", Where.JOBS),
    Right(GROUP, "cachepurges", "get list watch delete", Where.JOBS),  # delete: time to live
    # The index Job and the Indexed Jobs.
    Right("batch", "jobs", "list watch create patch delete", Where.JOBS),
    Right("", "pods", "list", Where.JOBS),  # why a child Job's pods do not start
    Right("", "events", "list create", Where.JOBS),  # list: why a Job may make no pods
    # one per job, for reporting, until it ends; list: what ended jobs have left
    Right("", "serviceaccounts", "list create patch delete", Where.JOBS),
    # One per job: its status, ours too.
    Right(RBAC, "roles rolebindings", "create patch delete", Where.JOBS),
    # One per collection.
    Right("coordination.k8s.io", "leases", "get list create update", Where.JOBS),
    Right("", "namespaces", "get", Where.JOBS),  # whether it is being deleted
    Right("coordination.k8s.io", "leases", "get create update", Where.OWN),  # the leader's
    # For later ones.
    Right("apiextensions.k8s.io", "customresourcedefinitions", "list watch", Where.CLUSTER),
)

API: tuple[Right, ...] = (
    # What it does for a caller it asks the cluster about first, by the last two.
    # As callers may at most.
    Right(GROUP, "fileprocessingjobs", "get list watch create patch delete", Where.JOBS),
    Right(GROUP, "cachefolders fileprocessingschedules", "list", Where.JOBS),  # to show them
    # patch: clean up, verify, repair, edit the policy
    Right(GROUP, "cachefolders", "get patch", Where.JOBS),
    Right(GROUP, "cachepurges", "get list create", Where.JOBS),
    Right("", "events", "list", Where.JOBS),  # a job's story
    Right("authentication.k8s.io", "tokenreviews", "create", Where.CLUSTER),  # whose a token is
    Right("authorization.k8s.io", "subjectaccessreviews", "create", Where.CLUSTER),  # what they may
)

CLEANUP: tuple[Right, ...] = (
    # What `fpj_operator.cleanup` needs before the resources themselves are removed.
    Right(GROUP, "fileprocessingjobs", "list delete update", Where.JOBS),
    Right(GROUP, "fileprocessingschedules", "list delete", Where.JOBS),
    Right("coordination.k8s.io", "leases", "list delete", Where.JOBS),
)

_ALL = "fileprocessingjobs fileprocessingschedules cachefolders cachepurges"
_READ = "get list watch"
_WRITE = f"{_READ} create update patch delete"

PEOPLE: dict[str, tuple[str, tuple[Right, ...]]] = {
    # ClusterRole: (the built-in role that takes its rights in, rights)
    "fpj-view": (
        "view",
        (Right(GROUP, _ALL, _READ, Where.JOBS),),
    ),
    "fpj-cache-manager": (
        "edit",
        (
            # Suspending is a patch.
            Right(GROUP, "fileprocessingjobs fileprocessingschedules", _WRITE, Where.JOBS),
            # Patch: clean up, verify, repair, edit the policy.
            Right(GROUP, "cachefolders", f"{_READ} patch", Where.JOBS),
            Right(GROUP, "cachepurges", _READ, Where.JOBS),
        ),
    ),
    "fpj-admin": (
        "admin",
        (Right(GROUP, _ALL, f"{_WRITE} deletecollection", Where.JOBS),),
    ),
}


def rules(rights: Iterable[Right], *places: Where) -> list[dict[str, Any]]:
    """The rules needed in these places, none of them twice."""
    found: list[dict[str, Any]] = []
    for right in rights:
        if right.where in places and right.rule not in found:
            found.append(right.rule)
    return found


def people_role(name: str, labels: dict[str, str]) -> dict[str, Any]:
    """A ClusterRole for people, which Kubernetes adds to its own ``view``,
    ``edit`` or ``admin``.
    """
    into, rights = PEOPLE[name]
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels | {f"{RBAC}/aggregate-to-{into}": "true"}},
        "rules": rules(rights, *Where),
    }
