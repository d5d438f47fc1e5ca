"""`fpj` and `kubectl fpj` against a real API server.

Statuses are written as the operator would write them.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
import yaml
from planes import fresh_namespace
from typing_extensions import override
from waiting import wait_for

from fpj_cli.main import main
from fpj_cluster import Cluster, Kube
from fpj_core.errors import ErrorType
from fpj_core.kube import names
from fpj_core.model import Counts, Failure, Job, Phase, Shard, ShardBatch
from fpj_core.store import open_store

Document = dict[str, Any]
BIN = Path(sysconfig.get_path("scripts"))
SOURCE = {"source": {"persistentVolumeClaim": {"claimName": "photos"}}}


@dataclass
class Finished:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Place:
    """A namespace, and the command in it."""

    kube: Kube
    name: str
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(
        self, *arguments: str, kubeconfig: Path | None = None, name: str = "kubectl-fpj"
    ) -> Finished:
        where = ["--kubeconfig", str(kubeconfig or self.kube.kubeconfig)]
        where += [] if "-A" in arguments else ["-n", self.name]
        self.monkeypatch.setattr(sys, "argv", [name, *arguments, *where])
        self.capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        captured = self.capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    def job(
        self,
        name: str,
        phase: Phase | None = None,
        message: str = "as it is",
        *,
        finalizers: tuple[str, ...] = (),
        **status: Any,
    ) -> Document:
        """A FileProcessingJob, with a status unless no operator has seen it."""
        suspend = {"suspend": True} if phase is Phase.SUSPENDED else {}
        self.kube.apply(
            {
                "apiVersion": "fpj.dev/v1alpha1",
                "kind": "FileProcessingJob",
                "metadata": {"name": name, "finalizers": list(finalizers)},
                "spec": {"jobType": "Both", "collection": SOURCE} | suspend,
            }
        )
        if phase is not None:
            self.status(name, phase, message, **status)
        return self.get(name)

    def status(self, name: str, phase: Phase, message: str = "as it is", **status: Any) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        complete = phase in (Phase.COMPLETED, Phase.COMPLETED_WITH_ERRORS)
        conditions = [
            {
                "type": kind,
                "status": str(holds),
                "reason": "Because",
                "message": message,
                "lastTransitionTime": now,
            }
            for kind, holds in (
                ("Ready", complete),
                ("Complete", complete),
                ("Failed", phase is Phase.FAILED),
            )
        ]
        seen = self.get(name)["metadata"]["generation"]
        document = {"phase": phase.value, "observedGeneration": seen, "conditions": conditions}
        document |= {"attempt": {"number": 1}, "startTime": now}
        document |= {"completionTime": now} if phase.finished else {}
        patch = json.dumps({"status": document | status})
        self.kube("patch", "fpj", name, "--subresource=status", "--type=merge", "--patch", patch)

    def get(self, name: str) -> Document:
        return self.kube.json("get", "fpj", name)

    def annotation(self, name: str) -> str:
        return str((self.get(name)["metadata"].get("annotations") or {}).get("fpj.dev/resume", ""))


@pytest.fixture
def place(
    crds: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Place:
    for variable in ("FPJ_STORE", "FPJ_CLUSTER", "KUBECONFIG"):
        monkeypatch.delenv(variable, raising=False)
    return Place(crds.within(namespace), namespace, monkeypatch, capsys)


@contextmanager
def soon(work: Callable[[], object], seconds: float = 1.5) -> Iterator[None]:
    """Something that happens while a command runs."""
    timer = threading.Timer(seconds, work)
    timer.start()
    try:
        yield
    finally:
        timer.join()


PROGRESS = {
    "total": 12_000,
    "completed": 8_000,
    "skipped": 500,
    "failed": 260,
    "percent": 73,
    "imagesPerSecond": 41.3,
}
ERRORS = {"CorruptImage": 250, "TooLarge": 10}
RUNNING: dict[str, Any] = {
    "stage": "Process",
    "progress": PROGRESS | {"etaSeconds": 78},
    "errorBreakdown": ERRORS,
    "shards": {"total": 12, "active": 4, "succeeded": 6, "failed": 0},
}


# Looking ------------------------------------------------------------------------------------------


def test_get_lists_newest_first(place: Place) -> None:
    assert (
        place("get").stderr
        == f"No jobs in namespace {place.name}. Make one with: kubectl apply -f job.yaml\n"
    )
    place.job("photos", Phase.RUNNING, **RUNNING)
    time.sleep(1.1)  # times of creation have whole seconds
    place.job("unseen")
    lines = place("get").stdout.splitlines()
    assert lines[0].split() == [
        "NAME",
        "TYPE",
        "PHASE",
        "PROGRESS",
        "DONE",
        "FAILED",
        "RATE",
        "ETA",
        "AGE",
    ]
    assert lines[1].split()[:-1] == ["unseen", "Both", "Pending", "-", "0/0", "0", "-", "-"]
    assert lines[2].split()[:-1] == [
        "photos",
        "Both",
        "Running",
        "73%",
        "8760/12000",
        "260",
        "41.3/s",
        "1m18s",
    ]
    assert not any(line != line.rstrip() for line in lines)
    assert place("get", "photos", "-o", "wide").stdout.splitlines()[1].split()[8:10] == [
        "500",
        "12",
    ]
    found = json.loads(place("get", "photos", "-o", "json").stdout)
    assert [(each["name"], each["namespace"], each["phase"]) for each in found] == [
        ("photos", place.name, "Running")
    ]
    assert found[0]["progress"] == PROGRESS | {
        "etaSeconds": 78,
        "bytesWritten": 0,
        "averageProcessingMs": 0.0,
    }
    assert place("get", "--limit", "1").stderr.startswith("There are older jobs")
    assert [place.name, "photos"] in [
        line.split()[:2] for line in place("get", "-A").stdout.splitlines()
    ]


def test_kubectl_completes_names_of_jobs(place: Place, tmp_path: Path) -> None:
    """With kubectl's own completion, which finds a plugin's by its name."""
    place.job("photos")
    place.job("paintings")
    for name, entry in (("kubectl-fpj", "main"), ("kubectl_complete-fpj", "complete")):
        (tmp_path / name).write_text(
            f"#!{sys.executable}\nfrom fpj_cli.main import {entry}\n{entry}()\n"
        )
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "KUBECONFIG": str(place.kube.kubeconfig),
    }
    asked = [place.kube.command()[0], "__complete", "fpj", "get", "-n", place.name, "p"]
    answer = subprocess.run(
        asked, env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert answer.splitlines()[:3] == ["paintings", "photos", ":4"]


def test_a_job_is_named_as_kubectl_prints_it_or_by_its_id(place: Place) -> None:
    uid = place.job("photos", Phase.RUNNING)["metadata"]["uid"]
    for name in ("photos", "fpj/photos", "fileprocessingjob.fpj.dev/photos", uid, uid[:8]):
        assert json.loads(place("get", name, "-o", "json").stdout)[0]["jobId"] == uid
    missing = place("get", "video")
    assert (missing.code, missing.stdout) == (2, "")
    assert (
        missing.stderr
        == f"Error: no job named 'video' in namespace {place.name} (newest: photos)\n"
    )


def test_describe_tells_all(place: Place) -> None:
    uid = place.job("photos", Phase.RUNNING, "working on 12 shards", **RUNNING)["metadata"]["uid"]
    place.kube.apply(event("photos", uid, place.name))
    shown = place("describe", "photos").stdout
    said = dict(line.split(":", 1) for line in shown.split("\n\n")[0].splitlines())
    assert {name: value.strip() for name, value in said.items()}.items() >= {
        "Phase": "Running",
        "Stage": "Process (making images)",
        "Reason": "Because: working on 12 shards",
        "Failed": "260 (CorruptImage 250, TooLarge 10)",
        "Shards": "12 (4 active, 6 succeeded)",
    }.items()
    assert "Warning   ImagesFailing   260 images have failed (x3)" in shown
    assert f"kubectl fpj failures photos -n {place.name}" in shown
    document = json.loads(place("describe", "photos", "-o", "json").stdout)
    assert document["errorBreakdown"] == ERRORS
    assert document["events"][0]["reason"] == "ImagesFailing"
    assert document["manifest"]["spec"]["jobType"] == "Both"


def test_describe_says_what_a_job_waits_for(place: Place) -> None:
    place.job("unseen")
    assert "No operator has picked up this job yet." in place("describe", "unseen").stdout
    place.job("broken", Phase.FAILED, "no such folder")
    assert f"kubectl fpj resume broken -n {place.name}" in place("describe", "broken").stdout


def event(name: str, uid: str, namespace: str) -> Document:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}-failing"},
        "involvedObject": {
            "kind": "FileProcessingJob",
            "name": name,
            "namespace": namespace,
            "uid": uid,
        },
        "type": "Warning",
        "reason": "ImagesFailing",
        "message": "260 images have failed",
        "count": 3,
        "lastTimestamp": now,
    }


# Steering -----------------------------------------------------------------------------------------


def test_suspend_and_resume(place: Place) -> None:
    place.job("photos", Phase.RUNNING)
    assert place("suspend", "photos").stdout == f"{place.name}/photos suspended\n"
    assert place.get("photos")["spec"]["suspend"] is True
    assert place("suspend", "photos").stdout.endswith("is suspended already\n")
    assert place("resume", "photos").stdout == f"{place.name}/photos resumed\n"
    assert place.get("photos")["spec"]["suspend"] is False
    assert not place.annotation("photos"), "a suspended job goes on with the attempt that it is in"
    nothing = place("resume", "photos")
    assert nothing.code == 2
    assert "photos is Running: nothing to resume" in nothing.stderr
    place.job("done", Phase.COMPLETED)
    assert place("suspend", "done").code == 2
    assert place("resume").stderr == "Error: name the JOB\n"


def test_resume_of_a_failed_job_is_waited_for(place: Place) -> None:
    place.job("photos", Phase.FAILED)
    assert place("wait", "photos").code == 1
    before = time.time()
    assert place("resume", "photos").code == 0
    asked = place.annotation("photos")
    assert asked.endswith("Z")
    assert abs(before - time.time()) < 60
    assert place("resume", "photos").stdout.endswith("is already resuming\n")
    assert "  Resuming  " in place("wait", "photos", "--timeout", "0").stderr

    def go_on() -> None:
        attempt = {"number": 2, "resumedBy": asked}
        place.status(
            "photos",
            Phase.COMPLETED,
            attempt=attempt,
            progress={"total": 7, "completed": 7, "percent": 100},
        )

    with soon(go_on):
        waited = place("wait", "photos", "--timeout", "30s")
    assert (waited.code, waited.stdout[:31]) == (0, "photos  Completed  7 made, 0 up")


def test_recover_takes_what_failed_and_nothing_else(place: Place) -> None:
    assert place("recover", "--all", "--yes").stderr.startswith("Nothing to recover")
    for name, phase in (
        ("a", Phase.FAILED),
        ("b", Phase.COMPLETED_WITH_ERRORS),
        ("c", Phase.COMPLETED),
        ("d", Phase.RUNNING),
    ):
        place.job(name, phase)
    asked = place("recover", "--all")
    assert asked.code == 2
    assert "cannot ask for confirmation without a terminal; use --yes" in asked.stderr
    assert not place.annotation("a")
    done = place("recover", "--all", "--yes")
    assert sorted(done.stdout.splitlines()) == [
        f"{place.name}/a recovering",
        f"{place.name}/b recovering",
    ]
    assert [bool(place.annotation(name)) for name in "abcd"] == [True, True, False, False]
    assert place("recover", "--all", "--yes").stderr.startswith("Nothing to recover"), (
        "they were asked already"
    )
    assert place("recover", "c").stderr == "Error: c is Completed: nothing failed\n"
    assert place("recover", "d", "--yes").code == 0
    assert place.annotation("d"), "one that may have got stuck, by name"
    assert place("recover").code == place("recover", "a", "--all").code == 2


def test_release_lets_a_deleted_job_go(place: Place) -> None:
    place.job("photos", Phase.RUNNING, finalizers=(names.FINALIZER,))
    refused = place("release", "photos", "--yes")
    assert refused.code == 2
    assert (
        "photos is not being deleted; first: kubectl delete fpj photos --wait=false"
        in refused.stderr
    )
    place.kube("delete", "fpj", "photos", "--wait=false")
    assert "kubectl fpj release photos" in place("describe", "photos").stdout
    assert place("release", "photos").code == 2
    assert place.get("photos")["metadata"]["finalizers"] == [names.FINALIZER]
    assert place("release", "photos", "--yes").stdout == f"{place.name}/photos released\n"
    assert not place.kube.items("fpj")


def test_release_of_all_frees_a_namespace(crds: Kube, place: Place) -> None:
    with fresh_namespace(crds) as doomed:
        there = Place(crds.within(doomed), doomed, place.monkeypatch, place.capsys)
        there.job("a", Phase.RUNNING, finalizers=(names.FINALIZER,))
        there.job("b", Phase.RUNNING, finalizers=(names.FINALIZER, "example.org/theirs"))
        crds("delete", "namespace", doomed, "--wait=false")
        wait_for(
            lambda: all(
                "deletionTimestamp" in each["metadata"] for each in there.kube.items("fpj")
            ),
            "deletion",
        )
        released = there("release", "--all", "--yes")
        assert sorted(released.stdout.splitlines()) == [
            f"{doomed}/a released",
            f"{doomed}/b released",
        ]
        assert [each["metadata"]["finalizers"] for each in there.kube.items("fpj")] == [
            ["example.org/theirs"]
        ]
        assert (
            "No finalizer of fpj to remove; example.org/theirs must be"
            in there("release", "--all", "--yes").stderr
        )
        there.kube("patch", "fpj", "b", "--type=merge", "--patch", '{"metadata":{"finalizers":[]}}')


# Waiting ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "end", "complete", "failed"),
    [
        (Phase.COMPLETED, 0, 0, 1),
        (Phase.COMPLETED_WITH_ERRORS, 1, 0, 1),
        (Phase.FAILED, 1, 1, 0),
        (Phase.RUNNING, 124, 124, 124),
        (Phase.SUSPENDED, 124, 124, 124),
    ],
)
def test_wait_says_by_its_code_how_it_ended(
    place: Place, phase: Phase, end: int, complete: int, failed: int
) -> None:
    place.job("photos", phase)
    codes = [
        place("wait", "photos", "--for", each, "--timeout", "0s").code
        for each in ("End", "Complete", "failed")
    ]
    assert codes == [end, complete, failed]


def test_wait_ends_with_a_deleted_job(place: Place) -> None:
    place.job("photos", Phase.RUNNING)
    with soon(lambda: place.kube("delete", "fpj", "photos")):
        waited = place("wait", "photos", "--timeout", "30s")
    assert (waited.code, waited.stderr) == (1, "photos was deleted\n")


def test_watch_in_a_log(place: Place) -> None:
    place.job("photos", Phase.RUNNING, **RUNNING)
    with soon(lambda: place.status("photos", Phase.COMPLETED_WITH_ERRORS)):
        watched = place("watch", "photos")
    assert watched.code == 1
    assert watched.stderr.splitlines() == [
        (
            "photos  Running  73%  8,760/12,000  41.3/s  1m18s left  failed: CorruptImage 250,"
            " TooLarge 10"
        ),
        "photos  CompletedWithErrors  8,000 made, 500 up to date, 260 failed",
    ]


def test_watch_of_all_ends_when_nothing_is_at_work(place: Place) -> None:
    assert place("watch").stderr == "No job is active.\n"
    place.job("a", Phase.RUNNING, **RUNNING)
    place.job("b", Phase.PENDING, "a is working on the collection")
    place.job("c", Phase.SUSPENDED)
    place.job("d", Phase.FAILED)

    def end() -> None:
        place.status("a", Phase.COMPLETED)
        place.kube("delete", "fpj", "b")

    with soon(end):
        watched = place("watch")
    lines = watched.stderr.splitlines()
    assert watched.code == 1
    assert "b  Pending  a is working on the collection" in lines[:2]
    assert sorted(line[:12] for line in lines[2:]) == ["a  Completed", "b  deleted"]


# Logs ---------------------------------------------------------------------------------------------


class Kubelet(ThreadingHTTPServer):
    """Of a kubelet what the API server needs for logs: they are read from what `logs` holds,
    by pod.
    """

    daemon_threads = True

    def __init__(self, pki: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.logs: dict[str, str] = {}
        self.running: set[str] = set()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / "server.crt", pki / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @override
    def handle_error(self, *_: object) -> None:
        """A client that goes away is not reported."""


class _Answer(BaseHTTPRequestHandler):
    server: Kubelet

    def do_GET(self) -> None:
        url = urlparse(self.path)
        pod, container = url.path.split("/")[-2:]
        query = parse_qs(url.query)
        assert container == "worker"
        self.send_response(200)
        self.end_headers()
        lines = self.server.logs[pod].splitlines(keepends=True)
        self.wfile.write(
            "".join(
                lines[-int(query["tailLines"][0]) :] if "tailLines" in query else lines
            ).encode()
        )
        sent = len(self.server.logs[pod])
        while "follow" in query and pod in self.server.running:
            self.wfile.flush()
            time.sleep(0.05)
            self.wfile.write(self.server.logs[pod][sent:].encode())
            sent = len(self.server.logs[pod])

    @override
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def kubelet(cluster: Cluster, place: Place) -> Iterator[Kubelet]:
    with Kubelet(cluster.layout.pki) as kubelet:
        threading.Thread(target=kubelet.serve_forever, daemon=True).start()
        node = f"logs-{place.name}"
        place.kube.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}})
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
        status = {
            "addresses": addresses,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.server_address[1]}},
        }
        place.kube(
            "patch", "node", node, "--subresource=status", "--patch", json.dumps({"status": status})
        )
        yield kubelet
        place.kube("delete", "node", node)
        kubelet.shutdown()


def pod(
    place: Place, job: Document, role: str, shard: int = 0, phase: str = "Running", wave: int = 0
) -> str:
    uid = job["metadata"]["uid"]
    name = f"{role}-{wave}-{shard}"
    labels = names.labels(job["metadata"]["name"], uid, role, 1)
    child = (
        names.shards_job_name("x", 1, wave)
        if role == names.ROLE_SHARDS
        else names.index_job_name("x", 1)
    )
    labels |= {
        "batch.kubernetes.io/job-name": child,
        "batch.kubernetes.io/job-completion-index": str(shard),
    }
    place.kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "nodeName": f"logs-{place.name}",
                "containers": [{"name": "worker", "image": "none"}],
                "tolerations": [{"operator": "Exists"}],
                "terminationGracePeriodSeconds": 0,
            },
        }
    )
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    state = {"waiting": waiting} if phase == "Pending" else {"running": {}}
    container = {
        "name": "worker",
        "image": "none",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }
    status = json.dumps({"status": {"phase": phase, "containerStatuses": [container]}})
    place.kube("patch", "pod", name, "--subresource=status", "--patch", status)
    return name


def test_logs_of_every_pod_in_order(place: Place, kubelet: Kubelet) -> None:
    job = place.job("photos", Phase.RUNNING)
    nothing = place("logs", "photos")
    assert (nothing.code, nothing.stderr) == (2, "Error: photos has no pods yet (Running)\n")
    kubelet.logs = {
        pod(place, job, names.ROLE_SHARDS, 2, "Succeeded"): "s2\nümlaut",
        pod(place, job, names.ROLE_SHARDS, 0): "s0\n",
        pod(place, job, names.ROLE_SHARDS, 1, wave=1): "s1001\n",
        pod(place, job, names.ROLE_INDEX): "listing\nlisted\n",
    }
    pod(place, job, names.ROLE_SHARDS, 3, "Pending")
    shown = place("logs", "photos")
    assert shown.stdout.splitlines() == [
        "[index] listing",
        "[index] listed",
        "[shard 0] s0",
        "[shard 2] s2",
        "[shard 2] ümlaut",
        "[shard 1001] s1001",
    ]
    assert shown.stderr == "[shard 3] shards-0-3: ImagePullBackOff: no such image\n"
    assert place("logs", "photos", "--shard", "1001").stdout == "s1001\n"
    assert place("logs", "photos", "--role", "index", "--tail", "1").stdout == "listed\n"
    assert place("logs", "photos", "--role", "shards", "--tail", "1").stdout.startswith(
        "[shard 0] s0\n[shard 2] ümlaut"
    )
    assert place("logs", "photos", "--shard", "7").code == 2


def test_logs_are_followed_until_the_job_ends(place: Place, kubelet: Kubelet) -> None:
    job = place.job("photos", Phase.INDEXING)
    index = pod(place, job, names.ROLE_INDEX)
    kubelet.logs, kubelet.running = {index: "listing\n"}, {index}

    def go_on() -> None:
        kubelet.logs[index] += "listed\n"
        kubelet.running = {"shards-0-0"}
        kubelet.logs["shards-0-0"] = "image 1\n"
        pod(place, job, names.ROLE_SHARDS)
        time.sleep(3)
        kubelet.logs["shards-0-0"] += "image 2\n"
        time.sleep(0.5)
        kubelet.running = set()
        place.status("photos", Phase.COMPLETED)

    with soon(go_on):
        followed = place("logs", "photos", "-f")
    assert followed.code == 0
    expected = ["[index] listing", "[index] listed", "[shard 0] image 1", "[shard 0] image 2"]
    assert followed.stdout.splitlines() == expected


# Failures -----------------------------------------------------------------------------------------


def test_failures_from_the_store(place: Place, tmp_path: Path) -> None:
    uid = place.job("photos", Phase.COMPLETED_WITH_ERRORS)["metadata"]["uid"]
    url = str(tmp_path / "fpj.db")
    record(url, uid)
    shown = place("failures", "photos", "--store", url).stdout.splitlines()
    assert [line.split() for line in shown] == [
        ["IMAGE", "ERROR", "ATTEMPTS", "REASON"],
        ["a.jpg", "CorruptImage", "1", "broken"],
        ["b.jpg", "TooLarge", "1", "broken"],
    ]
    place.monkeypatch.setenv("FPJ_STORE", url)
    listed = json.loads(place("failures", "photos", "--type", "TooLarge", "-o", "json").stdout)
    assert [(each["key"], each["errorType"], each["job"]) for each in listed] == [
        ("b.jpg", "TooLarge", uid)
    ]
    refused = place("get", "--store", url)
    assert (refused.code, refused.stderr) == (
        2,
        "Error: --store names a store of this machine: leave it out in a cluster\n",
    )


def record(url: str, uid: str) -> None:
    """Two failed images, as a worker records them."""
    store = open_store(url)
    try:
        store.create_job(Job(uid, "photos", "c", {}, "digest", phase=Phase.RUNNING, created_at=1.0))
        store.put_shards(uid, 1, [Shard(uid, 1, 0, "c", 0, 2, 0)])
        shard = store.claim_shard(uid, 1, "me", time.time())
        assert shard
        failures = tuple(
            Failure(uid, "c", number, f"id{number}", key, kind, "broken", 1, 1.0)
            for number, (key, kind) in enumerate(
                [("a.jpg", ErrorType.CORRUPT_IMAGE), ("b.jpg", ErrorType.TOO_LARGE)]
            )
        )
        counts = Counts(failed=2, errors={"CorruptImage": 1, "TooLarge": 1})
        batch = ShardBatch(uid, 1, 0, "c", shard.epoch, 0, 0, 2, counts, failures=failures)
        store.flush(batch, time.time())
    finally:
        store.close()


def test_failures_need_an_operator_or_a_store(place: Place) -> None:
    place.job("unseen")
    assert place("failures", "unseen").stderr == "No failed images in unseen.\n"
    place.job("photos", Phase.COMPLETED_WITH_ERRORS)
    nobody = place("failures", "photos", "--operator-namespace", place.name)
    assert nobody.code == 2
    assert (
        f"no operator runs in namespace {place.name}: name its namespace with --operator-nam"
        in nobody.stderr
    )


# What goes wrong ----------------------------------------------------------------------------------


def as_account(
    place: Place, folder: Path, *rules: Mapping[str, Any], token: str | None = None
) -> Path:
    """A kubeconfig of a service account with these rights."""
    place.kube.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "someone"}}
    )
    rbac = "rbac.authorization.k8s.io"
    meta = {"metadata": {"name": "someone"}}
    place.kube.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", **meta, "rules": list(rules)})
    reference = {"apiGroup": rbac, "kind": "Role", "name": "someone"}
    subject = {"kind": "ServiceAccount", "name": "someone", "namespace": place.name}
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        **meta,
        "roleRef": reference,
        "subjects": [subject],
    }
    place.kube.apply(binding)
    token = token or place.kube("create", "token", "someone").strip()
    document = yaml.safe_load(place.kube.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def test_who_may_not_is_told_so_in_one_line(place: Place, tmp_path: Path) -> None:
    place.job("photos", Phase.RUNNING)
    look = {"apiGroups": ["fpj.dev"], "resources": ["fileprocessingjobs"], "verbs": ["get"]}
    someone = as_account(place, tmp_path, look)
    listed = place("get", kubeconfig=someone)
    assert listed.code == 4
    assert "cannot list resource" in listed.stderr
    assert listed.stderr.count("\n") == 1
    shown = place("describe", "photos", kubeconfig=someone)
    assert shown.code == 0
    assert "Events:\nnot shown: you are not allowed to list events" in shown.stdout
    assert "cannot patch resource" in place("suspend", "photos", kubeconfig=someone).stderr


def test_who_may_not_exec_is_told_what_for(place: Place, tmp_path: Path) -> None:
    place.job("photos", Phase.COMPLETED_WITH_ERRORS)
    metadata = {"name": "operator", "labels": {"app.kubernetes.io/name": names.MANAGER}}
    spec = {"containers": [{"name": "operator", "image": "none"}], "nodeName": "nowhere"}
    place.kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    place.kube(
        "patch",
        "pod",
        "operator",
        "--subresource=status",
        "--patch",
        '{"status":{"phase":"Running"}}',
    )
    rules = [
        {"apiGroups": ["fpj.dev"], "resources": ["fileprocessingjobs"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    someone = as_account(place, tmp_path, *rules)
    refused = place("failures", "photos", "--operator-namespace", place.name, kubeconfig=someone)
    assert refused.code == 4
    assert "right to get and create of pods/exec in namespace" in refused.stderr
    assert refused.stderr.count("\n") == 1
    lost = place("failures", "photos", "--operator-namespace", place.name)
    assert lost.code == 4
    assert lost.stderr.startswith("Error: "), "its node does not exist"
    assert lost.stderr.count("\n") == 1


def test_credentials_that_are_not_accepted(place: Place, tmp_path: Path) -> None:
    refused = place("get", kubeconfig=as_account(place, tmp_path, token="no.such.token"))
    assert (refused.code, refused.stdout) == (4, "")
    assert (
        refused.stderr == "Error: the API server does not accept these credentials; log in again\n"
    )


# kubectl ------------------------------------------------------------------------------------------


def test_kubectl_calls_us(place: Place) -> None:
    place.job("photos", Phase.RUNNING, **RUNNING)
    environment = {
        "PATH": f"{BIN}:/usr/bin:/bin",
        "KUBECONFIG": str(place.kube.kubeconfig),
        "HOME": "/nonexistent",
    }
    kubectl = place.kube._kubectl
    for arguments in (["get", "-n", place.name], ["-n", place.name, "get"]):
        command = [str(kubectl), "fpj", *arguments]
        found = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        assert found.stdout.splitlines()[1].split()[:3] == ["photos", "Both", "Running"]
    named = subprocess.check_output(
        [kubectl, "fpj", "--help"], env=environment, text=True, timeout=60
    )
    assert "Usage: kubectl fpj " in named
    assert "  run " not in named, "that is for one machine"


def test_kubectl_alone_reads_well(place: Place) -> None:
    shown = {"progress": "73%", "done": "8760/12000", "rate": "41.3/s", "eta": "1m18s"}
    place.job("photos", Phase.RUNNING, **RUNNING, display=shown)
    lines = place.kube("get", "fpj").splitlines()
    assert lines[0].split()[:8] == [
        "NAME",
        "TYPE",
        "PHASE",
        "PROGRESS",
        "DONE",
        "FAILED",
        "RATE",
        "ETA",
    ]
    assert lines[1].split()[:8] == [
        "photos",
        "Both",
        "Running",
        "73%",
        "8760/12000",
        "260",
        "41.3/s",
        "1m18s",
    ]
    assert {"SKIPPED", "SHARDS", "LAST-PROGRESS"} <= set(
        place.kube("get", "fpj", "-o", "wide").split()
    )
    place.status("photos", Phase.COMPLETED)
    place.kube.wait("condition=Complete", "fpj/photos", seconds=10)
    explained = place.kube("explain", "fpj.spec")
    assert "jobType\t<string> -required-" in explained
    assert "What to make: cache images, a thumbnail, or both." in explained
