"""The API server, as far as the operator and the API need it: documents in, documents out.

Through the official client's transport and authentication. Its typed models are left alone: they cost memory and say
nothing about our own resource.
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, ApiException, Configuration

from fpj_core.names import MANAGER

_TIMEOUT_SECONDS = 20.0
_TRIES = 5
_BACKOFF_SECONDS = 0.2
_MOST_BACKOFF_SECONDS = 30.0
_PASSING = frozenset({429, 500, 502, 503, 504})
_RESOURCES = {
    "FileProcessingJob": ("apis/fpj.dev/v1alpha1", "fileprocessingjobs"),
    "CacheFolder": ("apis/fpj.dev/v1alpha1", "cachefolders"),
    "FileProcessingSchedule": ("apis/fpj.dev/v1alpha1", "fileprocessingschedules"),
    "Job": ("apis/batch/v1", "jobs"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Pod": ("api/v1", "pods"),
    "Event": ("api/v1", "events"),
    "Namespace": ("api/v1", "namespaces"),
}
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path

Document = dict[str, Any]


class ClusterError(Exception):
    """The API server refused, or could not be reached; ``status`` is its HTTP status, 0 for no answer.

    ``retry_after`` is what it asks to wait, in seconds.
    """

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        self.status = status
        self.retry_after = retry_after
        super().__init__(message)


async def configuration() -> Configuration:
    """Where the API server is, and who we are: by the pod's own service account, or by KUBECONFIG."""
    found = Configuration()
    if os.environ.get("KUBERNETES_SERVICE_HOST") and Path(_TOKEN).exists():
        config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
    else:
        await config.load_kube_config(client_configuration=found)  # type: ignore[no-untyped-call]
    # Else a thread looks for a proxy at every single request. One is asked for only where there may be one.
    found.client_session_kwargs = {"trust_env": bool(urllib.request.getproxies())}
    return found


class Cluster:
    """Requests with a time limit, tried a few times where trying again is safe and can help."""

    def __init__(self, client: ApiClient, manager: str = MANAGER) -> None:
        self._client = client
        self._apply = f"?fieldManager={manager}&force=true"
        self.writes = 0
        """Requests sent that change something; for measurements."""

    @classmethod
    async def connect(cls, manager: str = MANAGER) -> Self:
        """By the pod's own service account, or by KUBECONFIG; ``manager`` of the fields that are applied."""
        return cls(ApiClient(await configuration()), manager)

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

    async def list(self, kind: str, namespace: str | None, *, labels: str = "", fields: str = "") -> list[Document]:
        """Objects by selectors."""
        query = "&".join(
            f"{name}={_quoted(value)}"
            for name, value in (("labelSelector", labels), ("fieldSelector", fields))
            if value
        )
        found = await self._request("GET", _path(kind, namespace, "") + (f"?{query}" if query else ""))
        return list(found.get("items", []))

    async def check_listable(self, kind: str, namespace: str | None) -> None:
        """Raise `ClusterError` unless objects of the kind may be listed there. None are."""
        await self.list(kind, namespace, fields="metadata.name=-")

    async def create(self, manifest: Mapping[str, Any]) -> Document | None:
        """Create an object; None if there is one of that name already."""
        metadata = manifest["metadata"]
        try:
            return await self._request("POST", _path(manifest["kind"], metadata["namespace"], ""), manifest)
        except ClusterError as error:
            if error.status == 409:
                return None
            raise

    async def apply(self, manifest: Mapping[str, Any]) -> Document:
        """Server-side-apply an object."""
        metadata = manifest["metadata"]
        path = _path(manifest["kind"], metadata["namespace"], metadata["name"])
        return await self._request("PATCH", path + self._apply, manifest, "application/apply-patch+yaml")

    async def apply_status(
        self, kind: str, namespace: str, name: str, status: Mapping[str, Any], uid: str | None = None
    ) -> Document:
        """Server-side-apply what the operator says in the status of one of our resources; not in a namesake's."""
        metadata = {"name": name, "namespace": namespace} | ({"uid": uid} if uid else {})
        manifest = {"apiVersion": "fpj.dev/v1alpha1", "kind": kind, "metadata": metadata, "status": status}
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
        """Delete an object and, in the background, what it owns. Nothing happens if it is gone, or another's."""
        body: Document = {"propagationPolicy": "Background"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        try:
            await self._request("DELETE", _path(kind, namespace, name), body)
        except ClusterError as error:
            if error.status not in (404, 409):
                raise

    async def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, content: str = "application/json"
    ) -> Document:
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._once(method, path, body, content)
            except ClusterError as error:
                if error.status not in (0, *_PASSING) or attempt == _TRIES:
                    raise
                await asyncio.sleep(max(_BACKOFF_SECONDS * 2.0**attempt, error.retry_after))
        raise AssertionError("unreachable")

    async def _once(self, method: str, path: str, body: Mapping[str, Any] | None, content: str) -> Document:
        headers: dict[str, str] = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        if method != "GET":
            self.writes += 1
        try:
            response = await self._client.call_api(
                method,
                self._client.configuration.host + path,
                header_params=headers,
                body=body,
                _request_timeout=_TIMEOUT_SECONDS,
            )
            content_read = await response.read()  # type: ignore[no-untyped-call]
        except ApiException as error:
            raise ClusterError(error.status or 0, _message(error), _retry_after(error)) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ClusterError(0, f"the API server does not answer: {error or type(error).__name__}") from error
        if not 200 <= response.status < 300:
            raise ClusterError(response.status, _text_message(content_read))
        return dict(json.loads(content_read or b"{}"))


def _path(kind: str, namespace: str | None, name: str) -> str:
    prefix, plural = _RESOURCES[kind]
    where = f"namespaces/{namespace}/" if namespace else ""
    return f"/{prefix}/{where}{plural}" + (f"/{name}" if name else "")


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _message(error: ApiException) -> str:
    return _text_message(error.body or str(error.reason))


def _retry_after(error: ApiException) -> float:
    """Seconds that the answer's header asks for, within reason."""
    try:
        return min(max(float((error.headers or {}).get("Retry-After", 0)), 0.0), _MOST_BACKOFF_SECONDS)
    except ValueError:  # a date, which the API server never sends
        return 0.0


def _text_message(body: bytes | str) -> str:
    try:
        return str(json.loads(body)["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return (body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body))[:500]
