"""What a pod purges: only from its folder, only under the collection's lock, with a receipt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typing_extensions import override
from unit.worker.test_webhook import SECRET, served
from unit.worker_pod.conftest import COLLECTION, Cluster, folder_manifest

from fpj_core.errors import CacheFolderError, EnvironmentFaultError, ManifestError
from fpj_core.kube.exits import ExitCode
from fpj_core.kube.names import lease_name
from fpj_core.kube.purgereport import Notified, PurgeReport, Receipt, parse_purge_report
from fpj_core.model import RemovalReason
from fpj_core.store.protocol import Store
from fpj_worker import purging, removal
from fpj_worker.pod.purge import read_purge_task, run_purge
from fpj_worker.stopping import InterruptedRunError, Stop

FOLDER = "team.main"


@pytest.fixture
def made(cluster: Cluster) -> Cluster:
    """Three photos, each in the tiers full and thumbnail; the job has ended."""
    cluster.prepare(3)
    cluster.run("shard")
    with cluster.opened() as store:
        lease = store.lease(lease_name(COLLECTION))
        assert lease
        store.release_lease(lease)
    assert len(cluster.files()) == 6
    return cluster


def environment(
    cluster: Cluster, *images: str, webhook: dict[str, Any] | None = None, **more: str
) -> dict[str, str]:
    folder = folder_manifest()
    if webhook:
        folder["spec"]["purgeWebhook"] = webhook
    parts = {f"FPJ_IMAGES_{at}": json.dumps([key]) for at, key in enumerate(images)}
    task = {"folder": folder, "collection": COLLECTION, "parts": len(images) or None}
    return cluster.environment(FPJ_TASK=json.dumps(task), **parts, **more)


def purge(cluster: Cluster, *images: str, stop: Stop | None = None, **more: Any) -> PurgeReport:
    with cluster.opened() as store:
        task = read_purge_task(environment(cluster, *images, **more))
        report = parse_purge_report(run_purge(task, store, stop or Stop()))
    assert report
    return report


def recorded(store: Store) -> list[tuple[int, str]]:
    found = store.derivatives(COLLECTION, 0, 10, ("full", "thumbnail"))
    return sorted((each.ordinal, each.tier) for each in found)


def test_an_image_goes_with_a_receipt(made: Cluster) -> None:
    before = made.files()
    report = purge(made, "001.jpg")
    gone = {name: content for name, content in before.items() if name not in made.files()}
    assert len(gone) == 2
    assert report == PurgeReport(
        files=2,
        bytes=sum(map(len, gone.values())),
        receipt=tuple(
            Receipt("001.jpg", "thumbnail" if "thumbnail" in path else "full", path, len(content))
            for path, content in sorted(gone.items())
        ),
    )
    assert len(list(made.album.iterdir())) == 3
    with made.opened() as store:
        assert recorded(store) == [(at, tier) for at in (0, 2) for tier in ("full", "thumbnail")]
        assert list(store.removals(COLLECTION, FOLDER)) == []
        assert store.folder_totals(FOLDER)[0] == 4
    assert purge(made, "001.jpg") == PurgeReport(), "nothing is left of it"


def test_all_goes_in_batches(made: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "BATCH", 2)
    monkeypatch.setattr(removal, "TOGETHER", 2)
    report = purge(made)
    assert made.files() == {}
    assert (report.files, len(report.receipt), report.truncated) == (6, 6, False)
    assert {each.source for each in report.receipt} == {"000.jpg", "001.jpg", "002.jpg"}


def test_what_was_kept_of_a_vanished_image_goes_with_its_name(made: Cluster) -> None:
    with made.opened() as store:
        store.mark_deleted(COLLECTION, [1], 1)
    assert {each.source for each in purge(made, "001.jpg").receipt} == {"001.jpg"}
    assert len(made.files()) == 4


def test_what_was_to_be_removed_anyway_goes_at_once(made: Cluster) -> None:
    with made.opened() as store:
        refs = [(at, "full") for at in range(3)]
        store.start_removals(COLLECTION, refs, RemovalReason.UNREQUESTED, 1)
    assert purge(made, "001.jpg").files == 2
    assert len(made.files()) == 4, "of the other images it is the next job's"


def test_images_that_are_not_known_are_counted(made: Cluster) -> None:
    report = purge(made, "none.jpg", "001.jpg", "nor-this.jpg", "none.jpg")
    assert (report.files, report.unknown) == (2, 2)
    assert report.some_unknown == ("none.jpg", "nor-this.jpg")


def test_files_in_other_folders_stay(made: Cluster) -> None:
    with made.opened() as store:
        (known,) = store.folders()
        (one, _) = store.derivatives(COLLECTION, 1, 2, ("full", "thumbnail"))
        assert known.name == one.folder == FOLDER
    task = json.loads(environment(made, "001.jpg")["FPJ_TASK"])
    task["folder"]["metadata"]["name"] = "other"
    task["folder"]["spec"]["storage"]["persistentVolumeClaim"]["path"] = "elsewhere"
    (made.root / "cache" / "elsewhere").mkdir()
    with made.opened() as store:
        other = read_purge_task(environment(made, "001.jpg") | {"FPJ_TASK": json.dumps(task)})
        store.upsert_folder(other.folder.record)
        assert parse_purge_report(run_purge(other, store, Stop())) == PurgeReport()
    assert len(made.files()) == 6


def test_nothing_goes_while_a_job_works_on_the_collection(made: Cluster) -> None:
    with made.opened() as store:
        store.acquire_lease(lease_name(COLLECTION), "a job", 60, store.now())
    assert purge(made, "001.jpg") == PurgeReport(held=True)
    assert len(made.files()) == 6


def test_a_folder_of_another_store_loses_nothing(made: Cluster) -> None:
    marker = made.derived / ".fpj-folder"
    said = json.loads(marker.read_text())
    marker.write_text(json.dumps(said | {"store": "0" * 32}))
    report = purge(made, "001.jpg")
    assert (report.drift or ("",))[0] == "OtherStore"
    assert len(made.files()) == 6


def test_a_folder_that_is_not_mounted_loses_nothing(made: Cluster) -> None:
    away = made.derived.with_name("away")
    made.derived.rename(away)
    made.derived.mkdir()
    with pytest.raises(CacheFolderError):
        purge(made, "001.jpg")
    with made.opened() as store:
        assert len(recorded(store)) == 6


def test_files_that_cannot_be_removed_are_tried_again(made: Cluster) -> None:
    path, *_ = made.files()
    blocked = made.derived / path
    kept = blocked.read_bytes()
    blocked.unlink()
    blocked.mkdir()  # as unlink refuses it, also for root
    (blocked / "x").touch()
    with pytest.raises(EnvironmentFaultError, match="files cannot be removed"):
        purge(made)
    (blocked / "x").unlink()
    blocked.rmdir()
    blocked.write_bytes(kept)
    assert [each.path for each in purge(made).receipt] == [path]
    assert made.files() == {}


class StopAt(Stop):
    """Ends at the given look."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.left = looks

    @override
    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise InterruptedRunError("SIGTERM: the pod is to end")


@pytest.mark.parametrize("looks", range(8))
def test_whoever_is_stopped_is_gone_on_for(
    made: Cluster, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """Every URL is posted, though it may be twice."""
    monkeypatch.setattr(purging, "BATCH", 2)
    monkeypatch.setattr(removal, "TOGETHER", 2)
    paths = set(made.files())
    with served() as (url, asked):
        webhook = {"url": url, "baseUrl": "http://h"}
        try:
            purge(made, webhook=webhook, stop=StopAt(looks))
        except InterruptedRunError:
            purge(made, webhook=webhook)
    assert made.files() == {}
    posted = {each for _, _, body in asked for each in body["urls"]}
    assert posted == {f"http://h/{path}" for path in paths}
    with made.opened() as store:
        assert list(store.removals(COLLECTION, FOLDER)) == []
        assert not store.lease(lease_name(COLLECTION)) or purge(made) == PurgeReport(
            notified=None
        ), "the lock is free"


def test_the_webhook_is_told_with_its_token(made: Cluster) -> None:
    with served() as (url, asked):
        webhook = {
            "url": url,
            "baseUrl": "http://h",
            "secretRef": {"name": "cdn", "key": "fpj-webhook-token"},
        }
        report = purge(made, "001.jpg", webhook=webhook, FPJ_WEBHOOK_TOKEN=SECRET)
    assert report.notified == Notified(urls=2)
    ((_, authorization, body),) = asked
    assert authorization == f"Bearer {SECRET}"
    assert body == {
        "collection": COLLECTION,
        "urls": [f"http://h/{each.path}" for each in report.receipt],
    }


def test_a_webhook_that_fails_undoes_nothing(made: Cluster) -> None:
    with served(404) as (url, _):
        report = purge(made, "001.jpg", webhook={"url": url, "baseUrl": "http://h"})
    assert report.files == 2 and len(made.files()) == 4
    assert report.notified == Notified(0, 2, "127.0.0.1 answers with status 404")


def test_without_its_token_a_webhook_is_not_asked(made: Cluster) -> None:
    with served() as (url, asked):
        webhook = {
            "url": url,
            "baseUrl": "http://h",
            "secretRef": {"name": "cdn", "key": "fpj-webhook-token"},
        }
        report = purge(made, "001.jpg", webhook=webhook)
    assert asked == [] and report.files == 2
    assert report.notified and report.notified.failed == 2
    assert "no such key" in report.notified.message


@pytest.mark.parametrize("text", ["", "{", "5", "[5]"])
def test_keys_that_cannot_be_read_are_no_purge_of_all(made: Cluster, text: str) -> None:
    given = environment(made, "001.jpg") | {"FPJ_IMAGES_0": text}
    with pytest.raises(ManifestError, match="FPJ_IMAGES_0 is not a list of keys"):
        read_purge_task(given)


def test_as_a_pod(made: Cluster) -> None:
    with served(500, 500, 500) as (url, _):
        webhook = {
            "url": f"{url}/?key={SECRET}",
            "baseUrl": "http://h",
            "secretRef": {"name": "cdn", "key": "fpj-webhook-token"},
        }
        given = environment(made, "001.jpg", webhook=webhook, FPJ_WEBHOOK_TOKEN=SECRET)
        pod = made.run("purge", FPJ_TASK=given["FPJ_TASK"], **_of(given))
    report = parse_purge_report(pod.termination_log.read_text())
    assert report and report.files == 2 and report.notified and report.notified.failed == 2
    logged = [each for each in pod.events if each["message"] == "purged"]
    assert [(each["source"], each["path"]) for each in logged] == [
        (each.source, each.path) for each in report.receipt
    ]
    assert SECRET not in pod.stderr
    refused = made.start("purge", FPJ_TASK="{}")
    assert refused.wait() == ExitCode.PERMANENT


def _of(given: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in given.items()
        if name.startswith(("FPJ_IMAGES_", "FPJ_WEBHOOK_"))
    }


# What it says at its end --------------------------------------------------------------------------


def test_a_long_receipt_is_cut_to_what_a_termination_message_holds() -> None:
    rows = tuple(Receipt(f"é{n}" * 50, "full", f"c/full/{n}" * 20, n) for n in range(500))
    text = PurgeReport(
        files=500, bytes=7, receipt=rows, notified=Notified(3, 2, "é" * 900)
    ).message()
    assert len(text) <= 4_096 and text.isascii()
    said = parse_purge_report(text)
    assert said and said.truncated and said.files == 500
    assert said.receipt == rows[: len(said.receipt)] and said.receipt
    short = tuple(Receipt("a", "t", "p", 1) for _ in range(500))
    said = parse_purge_report(PurgeReport(files=500, receipt=short).message())
    assert said and len(said.receipt) == 100 and said.truncated


def test_the_longest_report_fits() -> None:
    longest = PurgeReport(
        drift=("OtherStore", "\N{GRINNING FACE}" * 5_000),
        receipt=(Receipt("\N{GRINNING FACE}" * 5_000, "t", "p", 1),),
        unknown=3,
        some_unknown=("\N{GRINNING FACE}" * 5_000,) * 3,
        notified=Notified(0, 1, "\N{GRINNING FACE}" * 5_000),
    )
    assert len(longest.message()) <= 4_096
    assert parse_purge_report(longest.message())


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"purge": 5}', '{"folder": {}}', "a log line"])
def test_anything_else_is_no_report(text: str) -> None:
    assert parse_purge_report(text) is None
