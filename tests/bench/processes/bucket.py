"""A bucket that exists only as names, behind a real HTTP server that counts what it is asked.

Usage: bucket COUNT. Holds COUNT objects below ``in/`` and one derivative of each below ``out/``.
Prints its port;
answers ``GET /counts`` with `{"GET list": n, …}` since it was last asked. Ends when its standard
input does.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from bisect import bisect_right
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

from typing_extensions import override

from fpj_core.ids import image_id
from fpj_core.paths import derivative_path

COLLECTION, TIER = "bench", "full"
SOURCE_BYTES, FILE_BYTES = 2_900_000, 400_000
_MODIFIED = "2026-01-01T00:00:00.000Z"
_PAGE = 1_000


def source_key(number: int) -> str:
    """The key of a photograph, below ``in/``."""
    return f"{2000 + number // 1_000}/IMG_{number:08}.jpg"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, count: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        names = [source_key(number) for number in range(count)]
        made = (
            derivative_path(COLLECTION, TIER, image_id(COLLECTION, name), "jpg") for name in names
        )
        self.keys = sorted(f"in/{name}" for name in names) + sorted(f"out/{name}" for name in made)
        self.marker = b""
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """List, or give the marker of the cache folder, the only object that can be asked for."""
        address = urlsplit(self.path)
        if address.path == "/counts":
            with self.server.lock:
                counts, self.server.counts = self.server.counts, Counter()
            self._answer(200, json.dumps(counts).encode())
            return
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self._count("GET list" if "list-type" in query else "GET object")
        if "list-type" in query:
            self._answer(200, self._page(query).encode())
        elif self.server.marker:
            self._answer(200, self.server.marker)
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_HEAD(self) -> None:
        """Nothing is ever there."""
        self._count("HEAD")
        self._answer(404, b"")

    def do_PUT(self) -> None:
        """Kept, if it is a marker."""
        self._count("PUT")
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith(".fpj-folder"):
            self.server.marker = content
        self._answer(200, b"")

    def do_POST(self) -> None:
        """Several are deleted at a time."""
        self._count("POST")
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        keys = b"".join(
            b"<Deleted>" + key + b"</Deleted>" for key in re.findall(rb"<Key>[^<]*</Key>", asked)
        )
        space = b"http://s3.amazonaws.com/doc/2006-03-01/"
        self._answer(200, b'<DeleteResult xmlns="' + space + b'">' + keys + b"</DeleteResult>")

    def do_DELETE(self) -> None:
        """Gone."""
        self._count("DELETE")
        self._answer(204, b"")

    def _count(self, what: str) -> None:
        with self.server.lock:
            self.server.counts[what] += 1

    def _page(self, query: dict[str, str]) -> str:
        prefix = query.get("prefix", "")
        after = query.get("continuation-token") or query.get("start-after") or ""
        first = bisect_right(self.server.keys, max(after, prefix))
        most = min(int(query.get("max-keys", _PAGE)), _PAGE)
        stop = min(first + most, bisect_right(self.server.keys, prefix + "\U0010ffff"))
        found = self.server.keys[first:stop]
        size = FILE_BYTES if prefix.startswith("out") else SOURCE_BYTES
        more = len(found) == most
        entries = "".join(
            f"<Contents><Key>{quote(key, safe='/')}</Key><LastModified>{_MODIFIED}</LastModified>"
            f"<ETag>&quot;{number:032x}&quot;</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for number, key in enumerate(found, first)
        )
        token = f"<NextContinuationToken>{found[-1]}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult'
            ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>bucket</Name><Prefix>{prefix}</Prefix><KeyCount>{len(found)}</KeyCount><MaxKeys>{most}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}</ListBucketResult>"
        )

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    @override
    def log_message(self, *_: object) -> None:
        """Nothing."""


def main() -> None:
    """Serve."""
    server = _Server(int(sys.argv[1]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
