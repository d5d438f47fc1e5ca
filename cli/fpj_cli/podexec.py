"""Run a command in a pod, as `kubectl exec` does."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence
from typing import Any

import websocket
from kubernetes.client import ApiException
from kubernetes.stream import ws_client as untyped_ws_client

from fpj_cli.kube import Api, cause, problem
from fpj_core.kube.errors import ClusterError, UnreachableError

ws_client: Any = untyped_ws_client  # it has no annotations
_ANSWER_SECONDS = 30
_WHOLE_SECONDS = 120
_CHANNELS = (ws_client.STDOUT_CHANNEL, ws_client.STDERR_CHANNEL, ws_client.ERROR_CHANNEL)


def run_in_pod(
    api: Api, namespace: str, pod: str, container: str, command: Sequence[str]
) -> tuple[int, str, str]:
    """(exit code, standard output, standard error). Raises `ClusterError`."""
    query = [
        ("container", container),
        ("stdout", "true"),
        ("stderr", "true"),
        *[("command", each) for each in command],
    ]
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/exec?{urllib.parse.urlencode(query)}"
    websocket.setdefaulttimeout(_ANSWER_SECONDS)  # the client itself sets none
    url = ws_client.get_websocket_url(api.configuration.host + path)
    try:
        # As bytes: a character may be cut by the end of a frame.
        client = ws_client.WSClient(
            api.configuration, url, api.headers(), capture_all=False, binary=True
        )
    except websocket.WebSocketBadStatusException as error:
        raise problem(error.status_code, error.resp_body or b"") from error
    except (websocket.WebSocketException, ApiException, OSError) as error:
        raise UnreachableError(f"pod {pod} cannot be reached: {cause(error)}") from error
    try:
        client.run_forever(timeout=_WHOLE_SECONDS)
        if client.is_open():
            raise ClusterError(
                0, f"{command[0]} in pod {pod} did not end within {_WHOLE_SECONDS} s"
            )
        output, errors, verdict = (client.read_channel(number) or b"" for number in _CHANNELS)
    except (websocket.WebSocketException, OSError) as error:
        raise UnreachableError(f"pod {pod} broke off: {cause(error)}") from error
    finally:
        # Its own close leaves the socket open where the other side was first.
        client.sock.shutdown()
    return (
        _exit_code(verdict, pod),
        output.decode("utf-8", "replace"),
        errors.decode("utf-8", "replace"),
    )


def _exit_code(verdict: bytes, pod: str) -> int:
    """From the Status that ends the connection.

    Raises `ClusterError` where the command was never run.
    """
    try:
        status = json.loads(verdict)
        if status["status"] == "Success":
            return 0
        causes = (status.get("details") or {}).get("causes") or ()
        code = next((each["message"] for each in causes if each.get("reason") == "ExitCode"), None)
        message = str(status.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UnreachableError(f"pod {pod} broke off") from None
    if code is None:
        raise ClusterError(0, f"nothing can be run in pod {pod}: {message}")
    return int(code)
