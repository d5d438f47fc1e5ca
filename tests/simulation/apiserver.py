"""An API server in memory: what it accepts, refuses and tells,
as far as operator and workers can notice.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from typing_extensions import override

from fpj_core.formatting import moment
from fpj_core.kube.api import _RESOURCES as RESOURCES
from simulation.kernel import Kernel

Document = dict[str, Any]
Ref = tuple[str, str, str]
"""Kind, namespace, name."""
_KINDS = {plural: kind for kind, (_, plural) in RESOURCES.items()}
_PATH = re.compile(
    r"/apis?/(?:[^/]+/)?v[^/]+/(?:namespaces/([^/]+)/)?([a-z]+)(?:/([^/]+))?(/status)?"
)
_IMMUTABLE = (
    "template",
    "completions",
    "completionMode",
    "podFailurePolicy",
    "backoffLimitPerIndex",
)
_REASONS = {
    404: "NotFound",
    409: "Conflict",
    422: "Invalid",
    403: "Forbidden",
    500: "InternalError",
}


class RefusedError(Exception):
    """What the API server says instead of doing it."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        self.status = status
        self.body = {
            "kind": "Status",
            "code": status,
            "message": message,
            "reason": reason or _REASONS.get(status, ""),
        }
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Request:
    """As it goes over the wire. ``manager`` is the field manager."""

    method: str
    path: str
    body: str
    content: str
    kind: str
    namespace: str
    name: str
    is_status: bool
    query: dict[str, str]
    sender: str

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def ref(self) -> Ref:
        return self.kind, self.namespace, self.name

    @override
    def __str__(self) -> str:
        return f"{self.method} {self.kind} {self.name}{'/status' if self.is_status else ''}"


def request_of(method: str, url: str, body: Any, content: str, sender: str) -> Request:
    parts = urlsplit(url)
    found = _PATH.fullmatch(parts.path)
    assert found, url
    namespace, plural, name, status = found.groups()
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    text = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
    return Request(
        method,
        url,
        text,
        content,
        _KINDS[plural],
        namespace or "",
        unquote(name or ""),
        bool(status),
        query,
        sender,
    )


@dataclass(eq=False)
class Subscription:
    """A watch: events come one after the other, late, until it breaks."""

    kind: str
    take: Callable[[str, Document], None]
    delay: Callable[[], float]
    due: float = 0.0
    broken: bool = False


@dataclass
class ApiServer:
    """The objects, and who watches them.

    ``on_status`` is called with the old and the new document when a resource's status was written.
    """

    kernel: Kernel
    on_status: Callable[[Document, Document, str], None]
    objects: dict[Ref, Document] = field(default_factory=dict)
    version: int = 100
    subscriptions: list[Subscription] = field(default_factory=list)
    owned: dict[Ref, dict[str, set[str]]] = field(default_factory=lambda: defaultdict(dict))
    """By status, who manages which of its fields."""
    writes: int = 0
    events: int = 0
    admit: list[Callable[[Request], RefusedError | None]] = field(default_factory=list)
    """Quotas, policies: each may refuse an object that is created."""
    history: list[tuple[float, int, str, Ref, str]] = field(default_factory=list)
    """(when, version, what, of which object, how it was then),
    for those who are served an old list.
    """
    rejected: dict[str, float] = field(default_factory=dict)
    """Since when children of a job are rejected, by its name."""
    hooks: list[Callable[[str, Ref, Document], None]] = field(default_factory=list)
    """Controllers of the cluster itself: informed at once of every change."""

    # What users and the cluster's own controllers do ----------------------------------------------

    def get(self, kind: str, namespace: str, name: str) -> Document | None:
        return self.objects.get((kind, namespace, name))

    def of(self, kind: str) -> list[Document]:
        return [document for (each, _, _), document in self.objects.items() if each == kind]

    def put(self, document: Document) -> Document:
        """Create an object."""
        metadata = document["metadata"]
        ref = (document["kind"], metadata.get("namespace", ""), metadata["name"])
        assert ref not in self.objects, ref
        metadata["uid"] = str(self._uid())
        metadata["generation"] = 1
        metadata["creationTimestamp"] = moment(self.kernel.wall())
        self.objects[ref] = document
        self.changed(ref, "ADDED")
        return document

    def changed(self, ref: Ref, what: str = "MODIFIED") -> None:
        """The object has been changed in place."""
        document = self.objects[ref]
        self.version += 1
        document["metadata"]["resourceVersion"] = str(self.version)
        self._tell(what, ref, document)

    def remove(self, ref: Ref) -> None:
        document = self.objects.pop(ref, None)
        if document is not None:
            self.owned.pop(ref, None)
            self.version += 1
            document["metadata"]["resourceVersion"] = str(self.version)
            self._tell("DELETED", ref, document)

    def edit(self, ref: Ref, change: Callable[[Document], object]) -> None:
        """Somebody edits a resource's spec or metadata."""
        document = self.objects.get(ref)
        if document is not None:
            before = json.dumps(document["spec"])
            change(document)
            document["metadata"]["generation"] += json.dumps(document["spec"]) != before
            self.changed(ref)

    def watch(self, subscription: Subscription) -> None:
        self.subscriptions.append(subscription)

    def _uid(self) -> str:
        from simulation.kernel import _uuid4

        return str(_uuid4())

    def _tell(self, what: str, ref: Ref, document: Document) -> None:
        text = None
        for subscription in self.subscriptions:
            if subscription.kind == ref[0] and not subscription.broken:
                text = text or json.dumps(document)
                subscription.due = max(
                    self.kernel.loop.now + subscription.delay(), subscription.due
                )
                wait = subscription.due - self.kernel.loop.now
                self.kernel.later(wait, self._deliver, subscription, what, text)
        if ref[0] in ("FileProcessingJob", "Job", "CacheFolder"):
            text = text or json.dumps(document)
            self.history.append((self.kernel.loop.now, self.version, what, ref, text))
        for hook in self.hooks:
            hook(what, ref, document)

    @staticmethod
    def _deliver(subscription: Subscription, what: str, text: str) -> None:
        if not subscription.broken:
            subscription.take(what, json.loads(text))

    # Requests -------------------------------------------------------------------------------------

    def answer(self, request: Request, *, as_of: float | None = None) -> tuple[int, str]:
        """Do it; HTTP status and body. A list may be one ``as_of`` an earlier moment."""
        try:
            found = self._answer(request, as_of)
        except RefusedError as refused:
            self.kernel.note(request.sender, f"{request} -> {refused.status} {refused}")
            return refused.status, json.dumps(refused.body)
        if request.writes:
            self.writes += 1
            self.events += request.kind == "Event"
            self.kernel.note(request.sender, f"{request} -> ok")
        return 200, json.dumps(found)

    def _answer(self, request: Request, as_of: float | None) -> Document:
        match request.method:
            case "GET":
                return self._read(request) if request.name else self._list(request, as_of)
            case "POST":
                return self._create(request)
            case "PUT":
                return self._replace(request)
            case "DELETE":
                return self._delete(request)
            case _ if request.content == "application/apply-patch+yaml":
                return self._apply_status(request) if request.is_status else self._apply(request)
            case _ if request.content == "application/json-patch+json":
                return self._json_patch(request)
            case _:
                return self._merge(request)

    def _read(self, request: Request) -> Document:
        if request.kind == "Namespace":
            return {"kind": "Namespace", "metadata": {"name": request.name}}
        return self._found(request)

    def _found(self, request: Request) -> Document:
        document = self.objects.get(request.ref)
        if document is None:
            raise RefusedError(404, f"{request.kind} {request.name} not found")
        return document

    def _list(self, request: Request, as_of: float | None) -> Document:
        version, candidates = self.version, self.of(request.kind)
        if as_of is not None:
            version, candidates = self._past(request.kind, as_of)
        labels, fields = (
            request.query.get("labelSelector", ""),
            request.query.get("fieldSelector", ""),
        )
        items = [
            document
            for document in candidates
            if request.namespace in ("", document["metadata"].get("namespace", ""))
            and _has_labels(document, labels)
            and _has_fields(document, fields)
        ]
        limit = int(request.query.get("limit") or 0)
        start = int(request.query.get("continue") or 0)
        more = limit and len(items) > start + limit
        page = items[start : start + limit] if limit else items
        metadata = {"resourceVersion": str(version)} | (
            {"continue": str(start + limit)} if more else {}
        )
        return {"items": page, "metadata": metadata}

    def _past(self, kind: str, as_of: float) -> tuple[int, list[Document]]:
        found: dict[Ref, str] = {}
        version = 0
        for at, number, what, ref, text in self.history:
            if at > as_of:
                break
            if ref[0] == kind:
                version = number
                found[ref] = text
                if what == "DELETED":
                    del found[ref]
        return version, [json.loads(text) for text in found.values()]

    def since(self, kind: str, version: int) -> list[tuple[str, Document]]:
        """What a watch from that version on gets first."""
        return [
            (what, json.loads(text))
            for _, number, what, ref, text in self.history
            if ref[0] == kind and number > version
        ]

    def _create(self, request: Request) -> Document:
        document = json.loads(request.body)
        ref = (request.kind, request.namespace, document["metadata"]["name"])
        if ref in self.objects:
            raise RefusedError(409, f"{ref[2]} already exists", "AlreadyExists")
        self._admit(request)
        document["metadata"]["namespace"] = request.namespace
        return self.put(document)

    def _admit(self, request: Request) -> None:
        for policy in self.admit:
            if (refused := policy(request)) is not None:
                if request.kind == "Job":
                    job = json.loads(request.body)["metadata"]["labels"]["fpj.dev/job"]
                    self.rejected.setdefault(job, self.kernel.loop.now)
                raise refused

    def _replace(self, request: Request) -> Document:
        given, known = json.loads(request.body), self._found(request)
        self._check_version(given, known)
        known["spec"] = given.get("spec", {})
        known["metadata"]["annotations"] = given["metadata"].get("annotations", {})
        self.changed(request.ref)
        return known

    @staticmethod
    def _check_version(given: Document, known: Document) -> None:
        version = given["metadata"].get("resourceVersion")
        if version and version != known["metadata"]["resourceVersion"]:
            raise RefusedError(409, "the object has been modified", "Conflict")
        uid = given["metadata"].get("uid")
        if uid and uid != known["metadata"]["uid"]:
            raise RefusedError(409, "metadata.uid: another object", "Conflict")

    def _delete(self, request: Request) -> Document:
        known = self._found(request)
        wanted = (json.loads(request.body or "{}").get("preconditions") or {}).get("uid")
        if wanted and wanted != known["metadata"]["uid"]:
            raise RefusedError(409, "the uid in the precondition is another", "Conflict")
        self.remove(request.ref)
        return known

    def _apply(self, request: Request) -> Document:
        given = json.loads(request.body)
        known = self.objects.get(request.ref)
        if known is None:
            self._admit(request)
            return self.put(given)
        if request.kind == "Job":
            for name in _IMMUTABLE:
                if given["spec"].get(name) != known["spec"].get(name):
                    raise RefusedError(
                        422, f"Job {request.name} is invalid: spec.{name}: field is immutable"
                    )
            if "suspend" in given["spec"] or given["metadata"].get("labels") != known[
                "metadata"
            ].get("labels"):
                known["metadata"]["labels"] = given["metadata"].get("labels", {})
                known["spec"].update(given["spec"])
                self.changed(request.ref)
        return known

    def _apply_status(self, request: Request) -> Document:
        given, known = json.loads(request.body), self._found(request)
        self._check_version(given, known)
        manager = request.query["fieldManager"]
        before = json.dumps(known)
        status, owners = known.setdefault("status", {}), self.owned[request.ref]
        for name in [
            each for each, who in owners.items() if manager in who and each not in given["status"]
        ]:
            owners[name].discard(manager)
            if not owners[name]:
                del owners[name]
                status.pop(name, None)
        for name, value in given["status"].items():
            owners[name] = (owners.get(name, set()) if status.get(name) == value else set()) | {
                manager
            }
            status[name] = value
        if json.dumps(known) != before:
            self.changed(request.ref)
            self.on_status(json.loads(before), known, request.sender)
        return known

    def _merge(self, request: Request) -> Document:
        given, known = json.loads(request.body), self._found(request)
        self._check_version({"metadata": given.get("metadata") or {}}, known)
        spec = json.dumps(known.get("spec"))
        _merged(
            known, {name: value for name, value in given.items() if name in ("spec", "metadata")}
        )
        known["metadata"]["generation"] += json.dumps(known.get("spec")) != spec
        self.changed(request.ref)
        return known

    def _json_patch(self, request: Request) -> Document:
        known = self._found(request)
        before = json.dumps(known)
        document = json.loads(before)
        for step in json.loads(request.body):
            *parents, last = step["path"].strip("/").split("/")
            at: Any = document
            for each in parents:
                at = at.get(each) if isinstance(at, dict) else None
            if step["op"] == "test":
                if not isinstance(at, dict) or at.get(last) != step["value"]:
                    raise RefusedError(422, f"the test of {step['path']} failed")
            else:
                if at is None:
                    raise RefusedError(422, f"no such path: {step['path']}")
                at[last] = step["value"]
                if len(parents) == 1:
                    self.owned[request.ref][last] = {request.query["fieldManager"]}
        known["status"] = document.get("status", {})
        if json.dumps(known) != before:
            self.changed(request.ref)
            self.on_status(json.loads(before), known, request.sender)
        return known


def _merged(target: Document, change: Document) -> None:
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            _merged(target[name], value)
        elif value is None:
            target.pop(name, None)
        else:
            target[name] = value


def _has_labels(document: Document, selector: str) -> bool:
    labels = document["metadata"].get("labels") or {}
    for each in filter(None, selector.split(",")):
        name, equals, value = each.partition("=")
        if name not in labels or (equals and labels[name] != value):
            return False
    return True


def _has_fields(document: Document, selector: str) -> bool:
    for each in filter(None, selector.split(",")):
        name, unequal, value = each.partition("!=")
        if not unequal:
            name, _, value = each.partition("=")
        at: Any = document
        for part in name.split("."):
            at = (at or {}).get(part)
        if (at == value) == bool(unequal):
            return False
    return True
