"""A pod that compares a cache folder with what is recorded of it, and repairs it if asked."""

from __future__ import annotations

import json
import os

import pytest
from unit.worker_pod.conftest import COLLECTION, Cluster, folder_manifest
from unit.worker_pod.test_purge import StopAt, made  # noqa: F401 - a fixture

from fpj_core.kube.folderreport import FolderReport, Verification, parse_folder_report
from fpj_core.kube.names import lease_name
from fpj_worker.pod.verify import read_verify_task, run_verify
from fpj_worker.stopping import InterruptedRunError, Stop

LONG_AGO = 1_000_000_000


def verify(cluster: Cluster, *, repair: bool = False, stop: Stop | None = None) -> Verification:
    text = json.dumps({"folder": folder_manifest(), "repair": repair})
    with cluster.opened() as store:
        task = read_verify_task(cluster.environment(FPJ_TASK=text))
        report = parse_folder_report(run_verify(task, store, stop or Stop()))
    assert report and report.verification and report.drift is None
    return report.verification


def damage(cluster: Cluster) -> str:
    """A file less, and one more."""
    first, second, *_ = (cluster.derived / name for name in cluster.files())
    orphan = second.with_name(second.stem[:2] + "0" * (len(second.stem) - 2) + second.suffix)
    orphan.write_bytes(second.read_bytes())
    os.utime(orphan, (LONG_AGO, LONG_AGO))
    first.unlink()
    return str(orphan.relative_to(cluster.derived))


def test_all_is_as_recorded(made: Cluster) -> None:  # noqa: F811
    found = verify(made)
    assert (found.compared, found.left, found.names, found.repair) == (6, 0, (), False)


def test_differences_are_reported_and_stay(made: Cluster) -> None:  # noqa: F811
    orphan = damage(made)
    before = made.files()
    found = verify(made)
    assert found.kinds["Missing"] == found.kinds["Unrecorded"] == 1
    assert (found.compared, found.left, found.repaired) == (5, 2, 0)
    assert orphan in found.names and len(found.names) == 2
    assert made.files() == before


def test_differences_are_repaired(made: Cluster) -> None:  # noqa: F811
    orphan = damage(made)
    found = verify(made, repair=True)
    assert (found.left, found.repaired, found.repair) == (0, 2, True)
    assert orphan not in made.files()
    assert verify(made).left == 0


def test_a_collection_that_a_job_works_on_is_not_repaired(made: Cluster) -> None:  # noqa: F811
    orphan = damage(made)
    with made.opened() as store:
        store.acquire_lease(lease_name(COLLECTION), "a job", 60, store.now())
    found = verify(made, repair=True)
    assert (found.busy, found.repaired) == ((COLLECTION,), 0)
    assert orphan in made.files()


def test_a_folder_of_another_store_is_not_compared(made: Cluster) -> None:  # noqa: F811
    marker = made.derived / ".fpj-folder"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"store": "0" * 32}))
    text = json.dumps({"folder": folder_manifest(), "repair": True})
    pod = made.run("verify", FPJ_TASK=text)
    report = parse_folder_report(pod.termination_log.read_text())
    assert report and report.drift and report.drift[0] == "OtherStore"
    assert report.verification is None


def test_a_folder_that_no_job_has_used(cluster: Cluster) -> None:
    (cluster.root / "cache" / "derived").mkdir()
    assert verify(cluster) == Verification(repair=False)


def test_whoever_is_stopped_is_gone_on_for(made: Cluster) -> None:  # noqa: F811
    damage(made)
    for looks in range(1, 6):
        try:
            verify(made, repair=True, stop=StopAt(looks))
        except InterruptedRunError:
            continue
    verify(made, repair=True)
    assert verify(made).left == 0


def test_the_report_fits_a_termination_message() -> None:
    many = tuple("\N{GRINNING FACE}" * 500 for _ in range(50))
    report = FolderReport(
        verification=Verification(True, 5, {"Missing": 3}, troubles=many, names=many)
    )
    assert len(report.message()) <= 4_096
    said = parse_folder_report(report.message())
    assert said and said.verification and said.verification.kinds == {"Missing": 3}
    assert said.verification.names


@pytest.mark.parametrize("said", [{"repair": "yes"}, {"repair": True, "more": 1}])
def test_what_the_operator_does_not_write_is_refused(cluster: Cluster, said: object) -> None:
    text = json.dumps({"folder": folder_manifest(), **dict(said)})  # type: ignore[call-overload] # a mapping
    assert cluster.start("verify", FPJ_TASK=text).wait() == 40
