"""A collector of OpenTelemetry traces, as small as one can be: real HTTP, real protobuf,
and a list behind it.
"""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from typing_extensions import override


class OtlpReceiver(ThreadingHTTPServer):
    """Collects spans at ``url`` while it is open."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Collecting)
        self.spans: list[Span] = []
        self.services: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"

    @override
    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    @override
    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def trace(self, uid: str) -> list[Span]:
        """The spans of a job, in the order of time, the whole life first."""
        found = [span for span in self.spans if span.trace_id.hex() == uid.replace("-", "")]
        return sorted(
            found, key=lambda span: (bool(span.parent_span_id), span.start_time_unix_nano)
        )


class _Collecting(BaseHTTPRequestHandler):
    server: OtlpReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        right = (
            self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
        )
        if right:
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                self.server.services |= {
                    each.value.string_value
                    for each in resource.resource.attributes
                    if each.key == "service.name"
                }
                self.server.spans += [
                    span for scope in resource.scope_spans for span in scope.spans
                ]
        self.send_response(200 if right else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    @override
    def log_message(self, *_: Any) -> None:
        """Nothing."""
