"""The API server, as far as the operator and the API need it: documents in, documents out.

Through the official client's transport and authentication. Its typed models are left alone: they
cost memory and say nothing about our own resource.
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.parse
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, ApiException, Configuration
from kubernetes.aio.client.rest import RESTResponse

from fpj_core.kube.documents import Document
from fpj_core.kube.errors import ClusterError, NoAnswerError, UnreachableError
from fpj_core.kube.names import API_VERSION, FOLDERS, JOBS, MANAGER, PURGES, SCHEDULES

_TIMEOUT_SECONDS = 20.0
_TRIES = 5
_CONNECTIONS = 100
_BACKOFF_SECONDS = 0.2
_MOST_BACKOFF_SECONDS = 30.0
_MOST_LINE_BYTES = 8 * 1024 * 1024
"""Of a watch's event; etcd's objects are far smaller."""
_PASSING = frozenset({429, 500, 502, 503, 504})
_RESOURCES = {
    "FileProcessingJob": (f"apis/{API_VERSION}", JOBS),
    "CacheFolder": (f"apis/{API_VERSION}", FOLDERS),
    "FileProcessingSchedule": (f"apis/{API_VERSION}", SCHEDULES),
    "CachePurge": (f"apis/{API_VERSION}", PURGES),
    "Job": ("apis/batch/v1", "jobs"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Pod": ("api/v1", "pods"),
    "Event": ("api/v1", "events"),
    "Namespace": ("api/v1", "namespaces"),
    "TokenReview": ("apis/authentication.k8s.io/v1", "tokenreviews"),
    "SubjectAccessReview": ("apis/authorization.k8s.io/v1", "subjectaccessreviews"),
}
ALREADY_EXISTS = "AlreadyExists"
"""Reason of a 409: there is an object of that name.

A 409 of any other reason says nothing of the kind.
"""
CONFLICT = "Conflict"
"""Reason of a 409: the object is no longer as it was read."""
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path


async def configuration() -> Configuration:
    """Where the API server is, and who we are: by the pod's own service account,
    or by KUBECONFIG.
    """
    found = Configuration()
    if os.environ.get("KUBERNETES_SERVICE_HOST") and Path(_TOKEN).exists():
        config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(client_configuration=found)  # type: ignore[no-untyped-call]
    # Else a thread looks for a proxy at every single request. One is asked for only where there may
    # be one.
    found.client_session_kwargs = {"trust_env": bool(urllib.request.getproxies())}
    return found


class Cluster:
    """Requests with a time limit, tried a few times where trying again is safe and can help.

    Each try may take ``timeout`` seconds; ``tries`` and what is waited between them bound the
    whole. A write is sent only while ``may_write`` says so, which is asked before each try.
    """

    def __init__(
        self,
        client: ApiClient,
        manager: str = MANAGER,
        *,
        tries: int = _TRIES,
        timeout: float = _TIMEOUT_SECONDS,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self._client = client
        self._manager = f"fieldManager={manager}"
        self._apply = f"?{self._manager}&force=true"
        self._tries, self._timeout = tries, timeout
        self._may_write = may_write
        self.writes = 0
        """Requests sent that change something; for measurements."""

    @classmethod
    async def connect(
        cls,
        manager: str = MANAGER,
        *,
        tries: int = _TRIES,
        timeout: float = _TIMEOUT_SECONDS,
        connections: int = _CONNECTIONS,
        may_write: Callable[[], bool] = lambda: True,
    ) -> Self:
        """By the pod's own service account, or by KUBECONFIG; ``manager`` of the fields that are
        written.

        A watch keeps one of the ``connections`` to itself.
        """
        found = await configuration()
        found.connection_pool_maxsize = connections
        return cls(ApiClient(found), manager, tries=tries, timeout=timeout, may_write=may_write)

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: str, namespace: str | None, name: str) -> Document | None:
        """One object, or None."""
        try:
            return await self._request("GET", _path(kind, namespace, name))
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self, kind: str, namespace: str | None, *, labels: str = "", fields: str = ""
    ) -> list[Document]:
        """Objects by selectors."""
        query = "&".join(
            f"{name}={_quoted(value)}"
            for name, value in (("labelSelector", labels), ("fieldSelector", fields))
            if value
        )
        found = await self._request(
            "GET", _path(kind, namespace, "") + (f"?{query}" if query else "")
        )
        return list(found.get("items", []))

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
        """A part of a list as the API server has it.

        ``after`` is ``metadata.continue`` of the part before.

        Raises `ClusterError`; with status 410 the list must be restarted.
        """
        query = f"?limit={limit}"
        for name, value in (
            ("continue", after),
            ("labelSelector", labels),
            ("fieldSelector", fields),
        ):
            query += f"&{name}={_quoted(value)}" if value else ""
        return await self._request("GET", _path(kind, namespace, "") + query)

    async def pages(
        self,
        kind: str,
        namespace: str | None,
        *,
        size: int,
        most: int,
        labels: str = "",
        fields: str = "",
    ) -> AsyncGenerator[Sequence[Document], None]:
        """Objects by selectors, up to ``size`` at a time, at most ``most`` objects in all.

        Asked for as they are used.

        Raises `ClusterError`; with status 410 the list took too long, and what came so far is no
        longer whole.
        """
        after, left = "", most
        while left > 0:
            found = await self.page(
                kind, namespace, limit=min(size, left), after=after, labels=labels, fields=fields
            )
            items: Sequence[Document] = found.get("items") or ()
            yield items
            left -= len(items)
            after = (found.get("metadata") or {}).get("continue") or ""
            if not after or not items:
                return

    async def watch(
        self, kind: str, namespace: str | None, version: str, *, seconds: int, silence: float
    ) -> AsyncGenerator[Document, None]:
        """Events from a resourceVersion on, bookmarks among them.

        The API server ends it after ``seconds``.

        Raises `ClusterError`: with status 410 if the version is too old, 0 if nothing came for
        ``silence`` seconds.
        """
        wanted = f"timeoutSeconds={seconds}&resourceVersion={_quoted(version)}"
        query = f"?watch=true&allowWatchBookmarks=true&{wanted}"
        limit = aiohttp.ClientTimeout(
            total=seconds + silence, sock_connect=self._timeout, sock_read=silence
        )
        try:
            response = await self._send("GET", _path(kind, namespace, "") + query, None, "", limit)
            try:
                if response.status != 200:
                    raise _refusal(response.status, await response.read())  # type: ignore[no-untyped-call]
                async for line in _lines(response.response.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ClusterError(
                            event["object"].get("code", 0), str(event["object"].get("message", ""))
                        )
                    yield event
            finally:
                response.response.close()
        except ApiException as error:
            raise _exception(error) from error
        except TimeoutError as error:
            raise NoAnswerError from error
        except (
            aiohttp.ClientError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:  # or something that is not an event
            raise _no_answer(error) from error

    async def review(self, kind: str, spec: Mapping[str, Any]) -> Document:
        """The status of a TokenReview or SubjectAccessReview."""
        prefix, _ = _RESOURCES[kind]
        manifest = {"apiVersion": prefix.removeprefix("apis/"), "kind": kind, "spec": spec}
        return dict(
            (await self._request("POST", _path(kind, None, ""), manifest)).get("status") or {}
        )

    async def check_listable(self, kind: str, namespace: str | None) -> None:
        """Raise `ClusterError` unless objects of the kind may be listed there. None are."""
        await self.list(kind, namespace, fields="metadata.name=-")

    async def create(self, manifest: Mapping[str, Any]) -> Document | None:
        """Create an object; None if there is one of that name already, whoever made it.

        Raises `ClusterError`, also for any other conflict: a quota that is being changed answers
        409, too.
        """
        metadata = manifest["metadata"]
        try:
            return await self._request(
                "POST", _path(manifest["kind"], metadata["namespace"], ""), manifest
            )
        except ClusterError as error:
            if error.reason == ALREADY_EXISTS:
                return None
            raise

    async def create_once(self, manifest: Mapping[str, Any]) -> Document:
        """Create an object; it is not tried again, so that a 409 always means that somebody else
        has made it.
        """
        path = _path(manifest["kind"], manifest["metadata"]["namespace"], "") + f"?{self._manager}"
        return await self._once("POST", path, manifest, "application/json")

    async def merge(
        self, kind: str, namespace: str, name: str, change: Mapping[str, Any]
    ) -> Document:
        """Merge a change into an object; with ``metadata.uid`` in it not into a namesake's,
        which is a 409.
        """
        path = _path(kind, namespace, name) + f"?{self._manager}"
        try:
            return await self._request("PATCH", path, change, "application/merge-patch+json")
        except ClusterError as error:
            # Of our own resources it says that a uid cannot be changed.
            if "metadata.uid" in dict(error.causes):
                raise ClusterError(409, f"{name} is another one by now") from error
            raise

    async def apply(self, manifest: Mapping[str, Any], *, tries: int | None = None) -> Document:
        """Server-side-apply an object.

        ``tries`` are fewer than usual where the caller tries again by itself.
        """
        metadata = manifest["metadata"]
        path = _path(manifest["kind"], metadata["namespace"], metadata["name"])
        return await self._request(
            "PATCH", path + self._apply, manifest, "application/apply-patch+yaml", tries
        )

    async def apply_status(
        self,
        kind: str,
        namespace: str,
        name: str,
        status: Mapping[str, Any],
        uid: str | None = None,
        version: str | None = None,
    ) -> Document:
        """Server-side-apply what the operator says in the status of one of our resources.

        Not in a namesake's.

        With a ``version`` only if that is still the object's resourceVersion. Raises
        `ClusterError`; with status 409 and reason Conflict the object has changed since: what was
        decided must be decided again.
        """
        metadata = {"name": name, "namespace": namespace} | ({"uid": uid} if uid else {})
        metadata |= {"resourceVersion": version} if version else {}
        manifest = {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "status": status}
        path = _path(kind, namespace, name) + "/status" + self._apply
        return await self._request("PATCH", path, manifest, "application/apply-patch+yaml")

    async def replace(self, manifest: Mapping[str, Any]) -> Document | None:
        """Replace an object if its resourceVersion still stands; None if it does not."""
        metadata = manifest["metadata"]
        path = _path(manifest["kind"], metadata["namespace"], metadata["name"])
        try:
            return await self._request("PUT", path, manifest)
        except ClusterError as error:
            if error.status in (404, 409):
                return None
            raise

    async def delete(self, kind: str, namespace: str, name: str, uid: str | None = None) -> None:
        """Delete an object and, in the background, what it owns.

        Nothing happens if it is gone, or another's.
        """
        body: Document = {"propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            await self._request("DELETE", _path(kind, namespace, name), body)
        except ClusterError as error:
            if error.status not in (404, 409):
                raise

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        content: str = "application/json",
        tries: int | None = None,
    ) -> Document:
        most = tries or self._tries
        for attempt in range(1, most + 1):
            try:
                return await self._once(method, path, body, content)
            except ClusterError as error:
                if error.status not in (0, *_PASSING) or attempt == most:
                    raise
                # Not longer than a try may take: whoever has short limits has somebody waiting.
                await asyncio.sleep(
                    min(max(_BACKOFF_SECONDS * 2.0**attempt, error.retry_after), self._timeout)
                )
        raise AssertionError("unreachable")

    async def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None, content: str
    ) -> Document:
        try:
            response = await self._send(method, path, body, content, self._timeout)
            content_read = await response.read()  # type: ignore[no-untyped-call]
        except ApiException as error:
            raise _exception(error) from error
        except TimeoutError as error:
            raise NoAnswerError from error
        except (aiohttp.ClientError, OSError) as error:
            raise _no_answer(error) from error
        if not 200 <= response.status < 300:
            raise _refusal(response.status, content_read, response.headers.get("Retry-After"))
        return dict(json.loads(content_read or b"{}"))

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        content: str,
        timeout: float | aiohttp.ClientTimeout,
    ) -> RESTResponse:
        headers: dict[str, str] = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        if method != "GET":
            if not self._may_write():
                raise ClusterError(0, "not sent: this process must write nothing more")
            self.writes += 1
        url = self._client.configuration.host + path
        return await self._client.call_api(
            method, url, header_params=headers, body=body, _request_timeout=timeout
        )


def _path(kind: str, namespace: str | None, name: str) -> str:
    prefix, plural = _RESOURCES[kind]
    where = f"namespaces/{namespace}/" if namespace else ""
    return f"/{prefix}/{where}{plural}" + (f"/{name}" if name else "")


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """What a watch sends, line by line, each an event.

    Raises ValueError for one that no object can be as large as.
    """
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
        if len(rest) > _MOST_LINE_BYTES:
            raise ValueError("an event of the watch is too large")


def _exception(error: ApiException) -> ClusterError:
    return _refusal(
        error.status or 0, error.body or str(error.reason), (error.headers or {}).get("Retry-After")
    )


def _no_answer(error: Exception) -> ClusterError:
    return UnreachableError(f"the API server does not answer: {error or type(error).__name__}")


def _refusal(status: int, body: bytes | str, retry_after: str | None = None) -> ClusterError:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    try:
        said = json.loads(text)
        message = str(said["message"])
        found = (said.get("details") or {}).get("causes") or ()
        causes = tuple((str(each.get("field", "")), str(each.get("message", ""))) for each in found)
        reason = str(said.get("reason") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        message, causes, reason = text, (), ""
    return ClusterError(status, message[:500], _seconds(retry_after), causes, reason)


def _seconds(retry_after: str | None) -> float:
    """What the answer's header asks for, within reason."""
    try:
        return min(max(float(retry_after or 0), 0.0), _MOST_BACKOFF_SECONDS)
    except ValueError:  # a date, which the API server never sends
        return 0.0
