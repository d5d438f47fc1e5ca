"""What the API server writes down: who asked for what, and whether it was allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}

Request = tuple[str, str, str]
"""API group, resource with its subresource, verb."""


class Audit:
    """The log of an API server that is started with `arguments`."""

    def __init__(self, folder: Path) -> None:
        self._policy, self._log = folder / "audit-policy.yaml", folder / "audit.log"
        self._policy.write_text(yaml.safe_dump(_POLICY))

    @property
    def arguments(self) -> list[str]:
        return [
            f"--audit-policy-file={self._policy}",
            f"--audit-log-path={self._log}",
            "--audit-log-mode=blocking",
        ]

    def of(self, user: str) -> Iterator[tuple[Request, int]]:
        """A user's requests for resources, with the status of the answer."""
        for line in self._log.read_text().splitlines():
            entry: dict[str, Any] = json.loads(line)
            where = entry.get("objectRef", {})
            if entry["user"]["username"] == user and "resource" in where:
                resource = "/".join(filter(None, (where["resource"], where.get("subresource"))))
                yield (
                    (where.get("apiGroup", ""), resource, entry["verb"]),
                    entry.get("responseStatus", {})["code"],
                )

    def used(self, user: str) -> set[Request]:
        """The rights that a user's successful requests took.

        A patch that makes an object takes `create` too.
        """
        found = set()
        for request, status in self.of(user):
            if status < 300:
                found.add(request)
                if request[2] == "patch" and status == 201:
                    found.add((*request[:2], "create"))
        return found

    def addresses(self, user: str, resource: str, *verbs: str) -> list[str]:
        """Paths and queries by which a user asked for a resource."""
        return [str(entry["requestURI"]) for entry in self.entries(user, resource, *verbs)]

    def entries(self, user: str, resource: str, *verbs: str) -> Iterator[dict[str, Any]]:
        """All that is written down of a user's requests for a resource."""
        for line in self._log.read_text().splitlines():
            entry: dict[str, Any] = json.loads(line)
            where = entry.get("objectRef", {}).get("resource")
            if entry["user"]["username"] == user and where == resource and entry["verb"] in verbs:
                yield entry

    def refused(self, user: str) -> set[Request]:
        """What a user was not allowed."""
        return {request for request, status in self.of(user) if status == 403}
