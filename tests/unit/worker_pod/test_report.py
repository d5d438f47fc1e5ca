"""Reports, against an HTTPS server that plays the API server."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typing_extensions import override
from unit.worker_pod.conftest import BOUND, UID, Cluster, slow

from fpj_core.errors import StoreUnavailableError
from fpj_core.jobs import change_job
from fpj_core.model import Counts, Job, Phase, Shard, ShardBatch, ShardState
from fpj_core.store import open_store
from fpj_core.store.protocol import Store
from fpj_worker.pod.report import (
    LateReportError,
    Reporter,
    ReportError,
    StatusWriter,
    pause_after_miss,
)


@dataclass
class ApiServer:
    """Remembers every request. ``status`` is what it answers."""

    account: Path
    port: int = 0
    status: int = 200
    requests: list[tuple[str, str, dict[str, str], list[dict[str, Any]]]] = field(
        default_factory=list
    )
    """Method, path, headers, JSON patch."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "FPJ_SERVICEACCOUNT_DIR": str(self.account),
        }


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1, which is its own authority; and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.crt").write_bytes(authority)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both = folder / "server.pem"
    both.write_bytes(private + authority)
    return both


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("first-token\n")
    api = ApiServer(account)

    class Handler(BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.requests.append((self.command, self.path, dict(self.headers), body))
            answer = b'{"kind": "Status", "message": "because"}'
            self.send_response(api.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        @override
        def log_message(self, *_arguments: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(account))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    api.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield api
    server.shutdown()
    server.server_close()


# Writing ------------------------------------------------------------------------------------------


def test_progress_is_written_to_the_jobs_own_resource_while_its_attempt_runs(
    api: ApiServer,
) -> None:
    writer = StatusWriter("team", "job", UID, 2, api.environment)
    writer.write({"progress": {"total": 3}})
    ((method, path, headers, body),) = api.requests
    assert method == "PATCH"
    assert path == (
        "/apis/fpj.dev/v1alpha1/namespaces/team/fileprocessingjobs/job/status?fieldManager=fpj-worker"
    )
    assert headers["Content-Type"] == "application/json-patch+json"
    assert headers["Authorization"] == "Bearer first-token"
    assert body == [
        {"op": "test", "path": "/metadata/uid", "value": UID},
        {"op": "test", "path": "/status/phase", "value": "Running"},
        {"op": "test", "path": "/status/attempt/number", "value": 2},
        {"op": "add", "path": "/status/progress", "value": {"total": 3}},
    ]


def test_a_report_that_comes_too_late_is_told_apart(api: ApiServer) -> None:
    api.status = 422
    with pytest.raises(LateReportError, match=r"the attempt does not run: .*because"):
        StatusWriter("team", "job", UID, 2, api.environment).write({})


def test_the_token_may_rotate(api: ApiServer) -> None:
    writer = StatusWriter("team", "job", UID, 2, api.environment)
    writer.write({})
    (api.account / "token").write_text("second-token")
    writer.write({})
    assert [headers["Authorization"] for _, _, headers, _ in api.requests] == [
        "Bearer first-token",
        "Bearer second-token",
    ]


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500])
def test_refusals_are_told(api: ApiServer, status: int) -> None:
    api.status = status
    with pytest.raises(ReportError, match=f"{status}.*because"):
        StatusWriter("team", "job", UID, 2, api.environment).write({})


def test_a_server_that_the_cluster_does_not_vouch_for_gets_no_token(
    api: ApiServer, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    self_signed(other)
    (api.account / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        StatusWriter("team", "job", UID, 2, api.environment).write({})
    assert api.requests == []


# Reporting ----------------------------------------------------------------------------------------

JOB = "job-1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(str(tmp_path / "store.db"))
    opened.put_shards(JOB, 1, [Shard(JOB, 1, 0, "c", 0, 100, 0)])
    opened.create_job(
        Job(
            JOB,
            "it",
            "c",
            {},
            "d",
            total=100,
            planning_attempt=1,
            planned_attempt=1,
            running_since=time.time(),
        )
    )
    yield opened
    opened.close()


def flush(store: Store, shard: Shard, start: int, stop: int) -> None:
    store.flush(
        ShardBatch(JOB, 1, 0, "c", shard.epoch, 1, start, stop, Counts(completed=stop - start)),
        time.time(),
    )


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@dataclass
class Written:
    """Collects documents; fails while ``error`` is set."""

    documents: list[Mapping[str, Any]] = field(default_factory=list)
    error: Exception | None = None
    calls: int = 0

    def __call__(self, document: Mapping[str, Any]) -> None:
        self.calls += 1
        if self.error:
            raise self.error
        self.documents.append(document)


def test_what_has_changed_is_reported_and_nothing_else(store: Store) -> None:
    written = Written()
    shard = store.claim_shard(JOB, 1, "w", time.time())
    assert shard
    with Reporter(store, JOB, 1, "w", written, interval=0.05):
        wait_for(lambda: len(written.documents) == 1)
        time.sleep(0.4)
        assert written.calls == 1, "nothing has changed"
        flush(store, shard, 0, 30)
        wait_for(lambda: len(written.documents) == 2)
        store.finish_shard(shard, ShardState.SUCCEEDED, time.time())
        wait_for(lambda: len(written.documents) == 3)
    first, second, third = written.documents
    assert first["display"]["done"] == "0/100"
    assert (second["display"]["done"], second["progress"]["completed"]) == ("30/100", 30)
    assert third["shards"] == {"total": 1, "active": 0, "succeeded": 1, "failed": 0}
    assert second["lastProgressAt"] == third["lastProgressAt"]
    job = store.get_job(JOB)
    assert job
    assert job.last_progress_done == 30


@pytest.mark.parametrize("end", [ShardState.SUCCEEDED, ShardState.PENDING])
def test_what_was_done_since_the_last_report_is_reported_at_the_end(
    store: Store, end: ShardState
) -> None:
    written = Written()
    shard = store.claim_shard(JOB, 1, "w", time.time())
    assert shard
    with Reporter(store, JOB, 1, "w", written, interval=BOUND):
        wait_for(lambda: written.documents)
        flush(store, shard, 0, 100)
        store.finish_shard(shard, end, time.time())
    assert [document["display"]["done"] for document in written.documents] == ["0/100", "100/100"]


def test_whoever_ends_while_others_work_leaves_the_report_to_them(store: Store) -> None:
    written = Written()
    shard = store.claim_shard(JOB, 1, "another", time.time())
    assert shard
    with Reporter(store, JOB, 1, "w", written, interval=BOUND):
        wait_for(lambda: written.documents)
        flush(store, shard, 0, 30)
    assert written.calls == 1


def test_the_last_report_on_a_suspended_job_tells_no_time_left(store: Store) -> None:
    """It may come after the operator has written what becomes of the job."""
    written = Written()
    shard = store.claim_shard(JOB, 1, "w", time.time())
    assert shard
    with Reporter(store, JOB, 1, "w", written, interval=0.05):
        time.sleep(1.1)  # a rate, and so a time left, is known once a second has passed
        flush(store, shard, 0, 30)
        wait_for(lambda: written.documents and written.documents[-1]["display"]["eta"] != "-")
        change_job(store, JOB, lambda job: replace(job, phase=Phase.SUSPENDED))
        flush(store, shard, 30, 40)
        wait_for(lambda: written.documents[-1]["display"]["done"] == "40/100")
    assert written.documents[-1]["display"]["eta"] == "-"


def test_of_many_pods_one_reports_at_a_time(store: Store) -> None:
    """However many there are, there is at most one report per interval."""
    written = Written()
    shard = store.claim_shard(JOB, 1, "w", time.time())
    assert shard
    reporters = [Reporter(store, JOB, 1, f"pod-{n}", written, interval=0.5) for n in range(6)]
    began = time.monotonic()
    for reporter in reporters:
        reporter.__enter__()
    for start in range(0, 100, 5):
        flush(store, shard, start, start + 5)
        time.sleep(0.1)
    for reporter in reporters:
        reporter.__exit__()
    seconds = time.monotonic() - began
    assert 2 <= written.calls <= seconds / 0.5 + 1


@pytest.mark.parametrize("pods", [1, 10, 30, 100, 1_000])
def test_a_thousand_pods_ask_for_the_slot_little_more_often_than_ten(pods: int) -> None:
    """Each of these questions is a write that fails, all of one document."""
    chance = Random(pods)
    pauses = [pause_after_miss(5.0, pods, chance) for _ in range(1_000)]
    assert pods / (sum(pauses) / len(pauses)) < 60, "a second, of all pods together"
    assert min(pauses) >= 1.0 and max(pauses) <= 30.0, (
        "the last pod of many takes over within half a minute"
    )
    assert pods > 10 or max(pauses) <= 3.0


def test_a_pod_of_many_waits_long_after_a_missed_slot(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    assert store.claim_reporter(JOB, "another", 1e9, store.now())
    reporter = Reporter(store, JOB, 1, "w", Written(), interval=5.0, pods=1_000)

    def wait(seconds: float | None = None) -> bool:
        waits.append(seconds or 0.0)
        return len(waits) == 3

    monkeypatch.setattr(reporter._ended, "wait", wait)
    reporter.start()
    reporter._thread.join(BOUND)
    assert waits[0] == 0.0 and all(10.0 <= each <= 30.0 for each in waits[1:])


def test_of_a_thousand_pods_that_end_together_few_sum_all_shards(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sum reads every shard of the job: of each pod at its end,
    it would grow with the square of their number.
    """
    asked: list[float] = []
    summed: list[str] = []
    real = store.job_counts

    def claimed(_job: str, _holder: str, interval: float, _now: float) -> bool:
        asked.append(interval)
        return False

    def counted(job: str, attempt: int) -> tuple[Counts, Mapping[ShardState, int]]:
        summed.append(job)
        return real(job, attempt)

    monkeypatch.setattr(store, "claim_reporter", claimed)
    monkeypatch.setattr(store, "job_counts", counted)
    Reporter(store, JOB, 1, "w", Written(), pods=1_000)._report_last()
    assert not summed and len(asked) == 2 and max(asked) <= 1.0, (
        "another has reported within the last second, and again"
    )
    Reporter(store, JOB, 1, "w", Written(), pods=4)._report_last()
    assert summed and len(asked) == 2, "few pods tell at once"


def test_the_last_of_a_thousand_pods_tells_the_end(store: Store) -> None:
    written = Written()
    shard = store.claim_shard(JOB, 1, "w", time.time())
    assert shard
    with Reporter(store, JOB, 1, "w", written, interval=BOUND, pods=1_000):
        wait_for(lambda: written.documents)
        flush(store, shard, 0, 100)
        store.finish_shard(shard, ShardState.SUCCEEDED, time.time())
    assert [document["display"]["done"] for document in written.documents] == ["0/100", "100/100"]


def test_failures_are_no_ones_problem(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    for error in (
        ReportError("403 Forbidden"),
        ConnectionRefusedError(),
        TimeoutError(),
        ValueError("?"),
    ):
        written = Written(error=error)
        caplog.clear()
        with Reporter(store, JOB, 1, "w", written, interval=0.02):
            wait_for(lambda written=written: written.calls >= 3)  # type: ignore[misc]
            written.error = None
            wait_for(lambda written=written: written.documents)  # type: ignore[misc]
        assert len([r for r in caplog.records if "report failed" in r.message]) == 1, (
            "a lasting error is reported once"
        )


def test_a_store_that_is_away_is_no_ones_problem(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def away(*_arguments: object) -> bool:
        nonlocal calls
        calls += 1
        raise StoreUnavailableError("away")

    written = Written()
    with monkeypatch.context() as patch:
        patch.setattr(store, "claim_reporter", away)
        with Reporter(store, JOB, 1, "w", written, interval=0.02):
            wait_for(lambda: calls >= 3)
            patch.undo()
            wait_for(lambda: written.documents)


def test_another_attempts_numbers_are_not_reported(store: Store) -> None:
    job = store.get_job(JOB)
    assert job
    store.update_job(replace(job, planning_attempt=2))
    written = Written()
    with Reporter(store, JOB, 1, "w", written, interval=0.02):
        time.sleep(0.3)
    assert written.calls == 0


def test_closing_waits_for_no_server(store: Store) -> None:
    hung = threading.Event()

    def hang(_document: Mapping[str, Any]) -> None:
        hung.set()
        time.sleep(4)

    with Reporter(store, JOB, 1, "w", hang, interval=0.02):
        assert hung.wait(BOUND)
        began = time.monotonic()
    assert time.monotonic() - began < 2.5


# From a pod ---------------------------------------------------------------------------------------


def test_a_pod_reports_its_job(cluster: Cluster, api: ApiServer) -> None:
    cluster.prepare(14, sharding={"shardSize": 100, "batchSize": 2, "workersPerPod": 2})
    task = cluster.task(report=True)
    pod = cluster.start("shard", **slow(1.2), **api.environment, FPJ_TASK=task)
    assert pod.wait() == 0, pod.stderr
    assert len(api.requests) >= 2
    last = {each["path"]: each["value"] for each in api.requests[-1][3]}
    assert last["/metadata/uid"] == UID
    assert last["/status/shards"] == {"total": 1, "active": 0, "succeeded": 1, "failed": 0}
    assert last["/status/progress"]["completed"] == 14
    assert cluster.job.last_progress_done == 14


@pytest.mark.parametrize("trouble", ["silent", "refused", "no account"])
def test_a_pod_whose_reports_fail_works_on(cluster: Cluster, api: ApiServer, trouble: str) -> None:
    """Not a moment longer than without them."""
    cluster.prepare(4)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        environment = api.environment
        if trouble == "silent":
            environment["KUBERNETES_SERVICE_PORT"] = str(silent.getsockname()[1])
        elif trouble == "no account":
            environment["FPJ_SERVICEACCOUNT_DIR"] = "/nowhere"
        else:
            api.status = 403
        pod = cluster.start("shard", **environment, FPJ_TASK=cluster.task(report=True))
        assert pod.wait() == 0, pod.stderr
    messages = [event["message"] for event in pod.events]
    assert "shard done" in messages
    assert sum("report failed" in message for message in messages) == (trouble != "silent")
    started, done = (
        next(e for e in pod.events if e["message"] == f"shard {word}")
        for word in ("started", "done")
    )
    elapsed = datetime.datetime.fromisoformat(done["time"]) - datetime.datetime.fromisoformat(
        started["time"]
    )
    assert elapsed.total_seconds() < BOUND / 2
