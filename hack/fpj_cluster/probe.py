"""Questions to a component over HTTPS, as the administrator."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any


class Probe:
    """Asks one server of the cluster.

    No answer, an error and a broken connection are all a "no".
    """

    def __init__(self, address: str, port: int, pki: Path) -> None:
        self._address = address
        self._port = port
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def is_ok(self, path: str) -> bool:
        """Whether the server answers with 200."""
        return self._get(path)[0] == http.HTTPStatus.OK

    def resource(self, path: str) -> dict[str, Any]:
        """A resource, or an empty one where it is not there (yet)."""
        status, body = self._get(path)
        return dict(json.loads(body)) if status == http.HTTPStatus.OK else {}

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(
            self._address, self._port, timeout=5, context=self._context
        )
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()
