"""The API server over plain HTTP: documents in, documents out,
and watches that end by themselves.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3
import yaml

Document = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_PASSING = frozenset({429, 500, 502, 503, 504})


class ApiError(Exception):
    """The API server refused; ``status`` is its HTTP status, 0 where it did not answer."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(f"{status}: {message}")


class Api:
    """Calls with the rights of a kubeconfig's user. May be used from several threads."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.url = str(server["server"])
        self.ca = _content(server, "certificate-authority")
        context = ssl.create_default_context(cadata=self.ca.decode())
        # The certificate and its key, which ssl only reads from a file.
        with tempfile.NamedTemporaryFile() as file:
            file.write(_content(user, "client-certificate") + b"\n" + _content(user, "client-key"))
            file.flush()
            context.load_cert_chain(file.name)
        self._pool = urllib3.PoolManager(
            ssl_context=context, retries=False, maxsize=32, block=False
        )

    @property
    def address(self) -> tuple[str, str]:
        """Host and port."""
        host, _, port = self.url.removeprefix("https://").partition(":")
        return host, port

    def get(self, path: str) -> Document | None:
        """One document, or None."""
        return self._unless(404, "GET", path)

    def items(self, path: str) -> list[Document]:
        """The items of a list."""
        return list(self.call("GET", path)["items"])

    def patch(
        self, path: str, change: Mapping[str, Any], content: str = STRATEGIC
    ) -> Document | None:
        """Change an object; None if it is gone."""
        return self._unless(404, "PATCH", path, change, content)

    def delete(self, path: str, body: Mapping[str, Any] | None = None) -> Document | None:
        """Delete an object; None if it is gone, or is not the one meant."""
        try:
            return self._unless(404, "DELETE", path, body or {})
        except ApiError as error:
            if error.status == 409:
                return None
            raise

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        content: str = "application/json",
        *,
        patience: float = 60.0,
    ) -> Document:
        """Any call.

        While the API server is away, or busy, it is tried again, for ``patience`` seconds at most.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                return self._once(method, path, body, content)
            except ApiError as error:
                if error.status not in (0, *_PASSING) or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def watch(self, path: str, version: str, seconds: int) -> Iterator[Document]:
        """Events from a resourceVersion on, for ``seconds`` at most.

        Raises `ApiError` where it must start again.
        """
        query = f"watch=true&resourceVersion={version}&timeoutSeconds={seconds}"
        query = ("&" if "?" in path else "?") + query
        timeout = urllib3.Timeout(connect=5, read=seconds + 10)
        try:
            response = self._pool.request(
                "GET", self.url + path + query, preload_content=False, timeout=timeout
            )
            try:
                if response.status != 200:
                    raise ApiError(response.status, response.read().decode(errors="replace")[:500])
                for line in _lines(response):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(
                            event["object"].get("code", 0), event["object"].get("message", "")
                        )
                    yield event
            finally:
                response.close()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, str(error)) from error

    def stream(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        """Any request as it is; the answer is still to be read, and to be closed."""
        timeout = urllib3.Timeout(connect=5, read=600)
        return self._pool.request(
            method,
            self.url + path,
            body=body or None,
            headers=headers,
            preload_content=False,
            timeout=timeout,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def _unless(self, status: int, method: str, path: str, *arguments: Any) -> Document | None:
        try:
            return self.call(method, path, *arguments)
        except ApiError as error:
            if error.status == status:
                return None
            raise

    def _once(
        self, method: str, path: str, body: Mapping[str, Any] | Sequence[Any] | None, content: str
    ) -> Document:
        data = None if body is None else json.dumps(body)
        headers = None if body is None else {"Content-Type": content}
        patience = urllib3.Timeout(connect=5, read=30)
        try:
            response = self._pool.request(
                method, self.url + path, body=data, headers=headers, timeout=patience
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ApiError(0, str(error)) from error
        if response.status >= 300:
            raise ApiError(response.status, response.data.decode(errors="replace")[:500])
        return dict(json.loads(response.data or b"{}"))


def _lines(response: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in response.stream(65_536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _content(section: Mapping[str, str], name: str) -> bytes:
    """What a kubeconfig holds itself, or names a file of."""
    if data := section.get(f"{name}-data"):
        return base64.b64decode(data)
    return Path(section[name]).read_bytes()
