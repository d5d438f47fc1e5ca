"""Modules of the dashboard that are worth a test of their own, in the browser that runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
import yaml
from chromium import visiting
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planes import ROOT
from playwright.sync_api import Browser, Page
from typing_extensions import override

pytestmark = pytest.mark.timeout(300)

FILES = ROOT / "api" / "fpj_api" / "static"
STREAM = (
    ": hello\n\nid: a-1\n\nid: a-2\r\nevent: job\r\ndata: {\r\ndata: }\r\n\r\n"
    "event: reset\rid: a-3\rdata: {}\r\rdata:no space\n\nevent: cut off\ndata: x\n"
)
EVENTS = [
    {"id": "a-1", "event": "message", "data": ""},
    {"id": "a-2", "event": "job", "data": "{\n}"},
    {"id": "a-3", "event": "reset", "data": "{}"},
    {"id": "a-3", "event": "message", "data": "no space"},
]
AWKWARD = [
    "no",
    "1e3",
    "0x1f",
    "~",
    "- a",
    "a: b",
    "#x",
    "5%",
    " x ",
    "2026-01-01",
    "1:30",
    "",
    "null",
    "<<",
    "=",
]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(AWKWARD)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


class Quiet(SimpleHTTPRequestHandler):
    """The files alone: nothing here asks the API."""

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=FILES)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with visiting(browser, f"http://127.0.0.1:{server.server_port}") as visit:
            yield visit.open()
        server.shutdown()


def test_yaml_is_read_as_what_it_was(page: Page) -> None:
    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(texts, values, min_size=1, max_size=4))
    def check(value: dict[str, Any]) -> None:
        # As JSON, in which a key such as __proto__ is one like any other.
        script = "async text => (await import('/assets/ui/yaml.js')).toYaml(JSON.parse(text))"
        assert yaml.safe_load(page.evaluate(script, json.dumps(value))) == value

    check()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_events_arrive_in_any_pieces(page: Page, size: int) -> None:
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    script = """async pieces => {
        const { EventParser } = await import('/assets/api/events.js');
        const parser = new EventParser();
        return pieces.flatMap(piece => [...parser.push(piece)]);
    }"""
    assert page.evaluate(script, pieces) == EVENTS


def test_numbers_and_sizes(page: Page) -> None:
    script = """async () => {
        const f = await import('/assets/ui/format.js');
        const sizes = [f.bytes(999), f.bytes(1.24e9), f.bytes(999_960)];
        const times = [130, 11_100, 360_000].map(f.duration).concat(f.milliseconds(1234));
        const words = f.words('CompletedWithErrors');
        return [f.count(1234), f.rate(41.26), words, f.count(null) === f.DASH, sizes, times];
    }"""
    assert page.evaluate(script) == [
        *("1,234", "41.3/s", "Completed with errors", True),
        ["999 B", "1.2 GB", "1 MB"],
        ["2m10s", "3h5m", "4d4h", "1.2 s"],
    ]


def test_a_list_in_order_through_thousands_of_changes(page: Page) -> None:
    script = """async () => {
        const { compare, JobList } = await import('/assets/jobs/job-list.js');
        const list = new JobList();
        const filter = { namespace: '', phases: new Set(), search: '' };
        const job = (n, phase) => {
            const createdAt = `2026-01-01T00:00:${10 + n % 40}Z`;
            return { uid: `u${n}`, name: `n${n}`, namespace: 'a', phase, createdAt };
        };
        list.reset(Array.from({ length: 500 }, (_, n) => job(n, 'Running')), null);
        for (let n = 0; n < 20_000; n++) {
            list.take({ kind: 'job', job: job(n % 600, n % 2 ? 'Running' : 'Failed') }, filter);
        }
        for (let n = 0; n < 100; n++) list.take({ kind: 'gone', uid: `u${n}` }, filter);
        const sorted = [...list.order].sort(compare);
        const isSorted = sorted.every((each, n) => each === list.order[n]);
        return [list.order.length, list.jobs.size, isSorted];
    }"""
    assert page.evaluate(script) == [500, 500, True]
