"""The API server, as far as the commands need it: documents in, documents out,
every request with a time limit.

Through the official client's configuration, authentication and transport. Its typed models are left
alone: they say nothing about our own resource.
"""

from __future__ import annotations

import json
import os
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import config
from kubernetes.client import ApiClient, ApiException, Configuration
from kubernetes.config import ConfigException

from fpj_cli.backend import Document
from fpj_cli.context import UsageProblemError
from fpj_core.kube.errors import ClusterError, UnreachableError

_CONNECT_SECONDS, _READ_SECONDS = 10.0, 30.0
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MOST_MESSAGE = 500
_CHUNK = 2**16
MERGE_PATCH = "application/merge-patch+json"


def connect(kubeconfig: str | None, context: str | None, seconds: float | None = None) -> Api:
    """By the kubeconfig; inside a pod, where there is none, by the pod's service account.

    No request is made yet.

    ``seconds`` is how long it may take to connect, and then to be answered.
    """
    configuration = Configuration()
    if (
        kubeconfig is None
        and context is None
        and not _has_kubeconfig()
        and (_ACCOUNT / "token").exists()
    ):
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        namespace: str | None = (_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    else:
        namespace = _load_kubeconfig(configuration, kubeconfig, context)
    # What may be tried again is for the commands to say.
    configuration.retries = False
    return Api(configuration, namespace or "default", seconds)


def _has_kubeconfig() -> bool:
    return bool(os.environ.get("KUBECONFIG")) or Path("~/.kube/config").expanduser().exists()


def _load_kubeconfig(
    configuration: Configuration, kubeconfig: str | None, context: str | None
) -> str | None:
    where = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    files = [Path(each).expanduser() for each in where.split(os.pathsep) if each]
    if not any(file.exists() for file in files):
        raise UsageProblemError(
            f"there is no kubeconfig {where}; name one with --kubeconfig or KUBECONFIG"
        )
    try:
        config.load_kube_config(where, context, configuration)  # type: ignore[no-untyped-call]
        contexts, active = config.list_kube_config_contexts(where)  # type: ignore[no-untyped-call]
    except (
        ConfigException,
        yaml.YAMLError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        raise UsageProblemError(f"cannot use the kubeconfig {where}: {_one_line(error)}") from error
    chosen = (
        next((each for each in contexts if each["name"] == context), active) if context else active
    )
    return (chosen.get("context") or {}).get("namespace")


class Api:
    """One API server, as one user."""

    def __init__(
        self, configuration: Configuration, namespace: str, seconds: float | None = None
    ) -> None:
        self.configuration = configuration
        self._limits = (seconds or _CONNECT_SECONDS, seconds or _READ_SECONDS)
        self.namespace = namespace
        self._client = ApiClient(configuration)
        self._client.user_agent = "fpj"

    def close(self) -> None:
        """Close every connection."""
        self._client.close()  # type: ignore[no-untyped-call]

    def get(self, path: str, **query: str | int) -> Document:
        """Raises `ClusterError`."""
        return dict(json.loads(self._send("GET", path, query).data or b"{}"))

    def pages(self, path: str, **query: str | int) -> Iterator[Document]:
        """The items of a list of any length."""
        more = ""
        while True:
            page = self.get(path, **query, limit=500, **({"continue": more} if more else {}))
            yield from page.get("items") or ()
            more = (page.get("metadata") or {}).get("continue") or ""
            if not more:
                return

    def create(self, path: str, document: Mapping[str, Any]) -> Document:
        """Make an object in a list's path."""
        query = {"fieldManager": "fpj"}
        response = self._send("POST", path, query, document, content="application/json")
        return dict(json.loads(response.data or b"{}"))

    def patch(self, path: str, change: Mapping[str, Any]) -> Document:
        """Merge a change into an object."""
        response = self._send("PATCH", path, {"fieldManager": "fpj"}, change)
        return dict(json.loads(response.data or b"{}"))

    def lines(self, path: str, *, endless: bool = False, **query: str | int) -> Iterator[str]:
        """Text as it comes. If ``endless``, the next line may be long in coming."""
        response = self._send("GET", path, query, endless=endless, streamed=True)
        rest = b""
        try:
            for chunk in response.stream(_CHUNK, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"{self._server} broke off: {cause(error)}") from error
        finally:
            response.close()
        if rest:
            yield rest.decode("utf-8", "replace")

    def headers(self) -> dict[str, str]:
        """With the credentials."""
        headers: dict[str, str] = {"Accept": "application/json, */*"}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
        return headers

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int],
        body: Mapping[str, Any] | None = None,
        *,
        content: str = MERGE_PATCH,
        endless: bool = False,
        streamed: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        url = (
            self.configuration.host + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        )
        try:
            response: urllib3.BaseHTTPResponse = self._client.call_api(
                method,
                url,
                header_params=self.headers()
                | ({"Content-Type": content} if body is not None else {}),
                body=body,
                _request_timeout=(self._limits[0], None if endless else self._limits[1]),
            ).response
            if not 200 <= response.status < 300:
                raise problem(response.status, response.data)
            if not streamed:
                response.read(cache_content=True)
        except ApiException as error:
            raise UnreachableError(
                f"{self._server} cannot be trusted: {_one_line(error.reason)}"
            ) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"{self._server} cannot be reached: {cause(error)}") from error
        return response

    @property
    def _server(self) -> str:
        return f"the API server {self.configuration.host}"


def problem(status: int, body: bytes) -> ClusterError:
    """What the API server's refusal means."""
    text = body.decode("utf-8", "replace").strip()
    try:
        said = json.loads(text)
        message = str(said["message"])
        found = bool((said.get("details") or {}).get("name"))
    except (ValueError, KeyError, TypeError, AttributeError):
        message, found = text, False
    if status == 401:
        message = "the API server does not accept these credentials; log in again"
    elif status == 404 and not found:
        message = (
            "the cluster does not know FileProcessingJobs: install the resources in crds/ and the"
            " operator first"
        )
    return ClusterError(
        status, _one_line(message or f"the API server answered with status {status}")
    )


def cause(error: BaseException) -> str:
    """The innermost reason in words: what the libraries say around it helps nobody."""
    found: BaseException | None = error
    late = False
    while found is not None:
        if isinstance(found, ssl.SSLCertVerificationError):
            return found.verify_message
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        late = late or isinstance(found, (TimeoutError, urllib3.exceptions.TimeoutError))
        found = found.__cause__ or found.__context__
    return "no answer in time" if late else _one_line(error)


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())[:_MOST_MESSAGE]
