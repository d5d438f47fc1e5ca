"""Listing a bucket as servers differ: how they encode names,
what they do with characters that XML has not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, urlsplit
from xml.sax.saxutils import escape

import pytest
from obstore import exceptions
from typing_extensions import override

from fpj_core.objectlist import Listed, pages
from fpj_core.objects import Bucket

AWS_SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
KEYS = ["a b.jpg", "a+b.jpg", "a//b.jpg", "ab%.jpg", "c&d<.jpg", "tab\t.jpg", "ä/😀.jpg"]


class Server(ThreadingHTTPServer):
    """Lists ``keys``; a dialect says how."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keys = list(KEYS)
        self.encoded: Callable[[str], str] | None = lambda key: quote(key, safe="/")
        self.plain: Callable[[str], str] = escape
        self.space = AWS_SPACE
        self.goes_on = True
        self.requests = 0


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.requests += 1
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        after = query.get("continuation-token") or query.get("start-after") or ""
        keys = sorted(server.keys, key=str.encode)
        found = [key for key in keys if key > after] if server.goes_on else keys
        page, more = found[:3], len(found) > 3 or not server.goes_on
        encoded = server.encoded if "encoding-type" in query else None
        entries = "".join(
            f"<Contents><Key>{(encoded or server.plain)(key)}</Key>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            "<ETag>&quot;e&quot;</ETag><Size>7</Size></Contents>"
            for key in page
        )
        token = (
            f"<NextContinuationToken>{server.plain(page[-1])}</NextContinuationToken>"
            if more
            else ""
        )
        said = "<EncodingType>url</EncodingType>" if encoded else ""
        answer = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult'
            f' xmlns="{server.space}"><Name>bucket</Name>'
            f"<KeyCount>{len(page)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{said}{token}{entries}"
            "</ListBucketResult>"
        ).encode()
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(answer)

    @override
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def listed(server: Server) -> list[Listed]:
    bucket = Bucket(
        "bucket", "", f"http://127.0.0.1:{server.server_port}", "us-east-1", "key", "secret"
    )
    return [each for page in pages(bucket, bucket.connect()) for each in page]


@pytest.mark.parametrize("space", [AWS_SPACE, "http://doc.s3.amazonaws.com/2006-03-01", ""])
@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(lambda key: quote(key, safe="/"), id="ceph"),
        pytest.param(lambda key: quote_plus(key, safe="/"), id="amazon and minio"),
        pytest.param(None, id="one that does not encode"),
    ],
)
def test_names_are_what_they_are_however_they_are_encoded(
    server: Server, encoded: Callable[[str], str] | None, space: str
) -> None:
    server.encoded, server.space = encoded, space
    found = listed(server)
    assert [each.key for each in found] == sorted(KEYS, key=str.encode)
    assert {each.key for each in found if each.odd} == {"a//b.jpg", "tab\t.jpg"}


@pytest.mark.parametrize(
    "plain",
    [
        pytest.param(lambda key: escape(key).replace("\1", "&#x1;"), id="amazon"),
        pytest.param(escape, id="raw"),
        pytest.param(lambda key: escape(key).replace("\1", "&bad;"), id="broken"),
        pytest.param(lambda key: escape(key).replace("\1", "\ufffd"), id="minio"),
    ],
)
def test_characters_that_xml_has_not_cost_one_key(
    server: Server, plain: Callable[[str], str]
) -> None:
    server.keys = ["a.jpg", "b\1.jpg", "c.jpg", "d.jpg", "e.jpg"]
    server.plain = plain
    found = listed(server)
    assert [each.key for each in found] == server.keys
    assert [each.key for each in found if each.odd] == ["b\1.jpg"]


def test_an_answer_that_cannot_be_read_is_an_error_of_the_storage(server: Server) -> None:
    server.keys = ["a.jpg", "b\1.jpg"]
    server.encoded = None
    with pytest.raises(exceptions.BaseError):
        listed(server)


def test_a_listing_that_does_not_go_on_ends(server: Server) -> None:
    server.goes_on = False
    with pytest.raises(exceptions.BaseError, match="does not go on"):
        listed(server)
    assert server.requests < 20
