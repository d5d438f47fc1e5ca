"""An API server for unit tests: reviews by a rule, lists and watches from a script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from fpj_core.kube.api import ALREADY_EXISTS
from fpj_core.kube.errors import ClusterError
from fpj_core.kube.selectors import parse_selector

Document = dict[str, Any]


class FakeCluster:
    """Answers as the test sets it up, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Document]] = []
        self.error: ClusterError | None = None
        self.users: dict[str, Document] = {}
        self.rule: Callable[[Document], bool] = lambda spec: False
        self.lists: list[Document | ClusterError] = []
        self.watches: list[list[Document | ClusterError]] = []
        self.calls: list[str] = []
        self.objects: dict[tuple[str, str, str], Document] = {}
        """By kind, namespace and name."""
        self.writes: list[tuple[str, str, Document]] = []
        """(verb, name, what was sent)."""

    async def review(self, kind: str, spec: Document) -> Document:
        self.asked.append((kind, spec))
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        if kind == "SubjectAccessReview":
            return {"allowed": self.rule(spec)}
        return self.users.get(spec["token"], {"authenticated": False})

    async def get(self, kind: str, namespace: str, name: str) -> Document | None:
        if self.error:
            raise self.error
        return self.objects.get((kind, namespace, name))

    async def create_once(self, manifest: Document) -> Document:
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        if self.error:
            raise self.error
        kind = manifest["kind"]
        if (kind, namespace, name) in self.objects:
            raise ClusterError(409, f"{name} already exists", reason=ALREADY_EXISTS)
        self.writes.append(("create", name, manifest))
        made = job(name, 1, namespace=namespace)
        made = made | {"metadata": {**manifest["metadata"], **made["metadata"]}}
        made |= {"spec": manifest["spec"]}
        self.objects[kind, namespace, name] = made
        return made

    def _labelled(self, kind: str, labels: str) -> list[Document]:
        selector = parse_selector(labels)
        return [
            each
            for (of, *_), each in self.objects.items()
            if of == kind and selector.matches(each["metadata"].get("labels") or {})
        ]

    async def merge(self, kind: str, namespace: str, name: str, change: Document) -> Document:
        self.writes.append(("patch", name, change))
        return self.objects[kind, namespace, name]

    async def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        self.writes.append(("delete", name, {"uid": uid}))
        self.objects.pop((kind, namespace, name), None)

    async def page(
        self,
        kind: str,
        namespace: str | None,
        *,
        limit: int,
        after: str = "",
        labels: str = "",
        fields: str = "",
    ) -> Document:
        if labels:
            return listed(1, *self._labelled(kind, labels))
        self.calls.append(f"list {namespace or 'all'} {after}".strip())
        if not self.lists:
            return listed(1)
        found = self.lists.pop(0)
        if isinstance(found, ClusterError):
            raise found
        return found

    async def watch(
        self, kind: str, namespace: str | None, version: str, *, seconds: int, silence: float
    ) -> AsyncGenerator[Document, None]:
        self.calls.append(f"watch {version}")
        if not self.watches:
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, ClusterError):
                raise event
            yield event


def job(
    name: str, version: int, *, namespace: str = "team", uid: str = "", **status: Any
) -> Document:
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": uid or f"uid-{namespace}-{name}",
        "resourceVersion": str(version),
        "creationTimestamp": "2026-01-02T03:04:05Z",
    }
    spec = {"jobType": "Thumbnail", "collection": {"source": {"s3": {"bucket": "photos"}}}}
    return {"metadata": metadata, "spec": spec, "status": status}


def listed(version: int, *jobs: Document, after: str = "") -> Document:
    return {"metadata": {"resourceVersion": str(version), "continue": after}, "items": list(jobs)}


def event(kind: str, document: Document) -> Document:
    return {"type": kind, "object": document}
