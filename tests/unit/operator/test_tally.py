"""What Prometheus gets of jobs: what is new at each look, once, whoever leads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import REGISTRY
from unit.operator.test_events import KEY, body
from unit.operator.test_runbooks import ALL_IS_WELL, SOURCES, reasons_in
from unit.operator.world import World

from fpj_core.formatting import moment
from fpj_core.kube.exits import Reason
from fpj_core.model import Counts, Phase
from fpj_operator import metrics
from fpj_operator.jobs import gauges
from fpj_operator.jobs.queue import JobQueue
from fpj_operator.jobs.reasons import REASONS
from fpj_operator.jobs.state import LeaseView
from fpj_operator.jobs.tally import Tally, since
from fpj_operator.keys import Key


def value(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None, f"{name} {labels} is not there from the start"
    return found


class Counted:
    """A world whose looks are shown to a tally, and what the counters have gained since."""

    def __init__(self) -> None:
        self.world = World()
        self.tally = Tally()
        self._before = self._now()

    def look(self, name: str = "photos") -> None:
        for _ in range(4):
            observed = self.world.observe(name)
            self.tally.take(observed, self.world.look(name))

    def taken_over(self) -> None:
        """Another operator leads: what this one remembered is gone."""
        self.tally = Tally()

    def _now(self) -> Counts:
        results = [
            value("fpj_images_total", result=result)
            for result in ("completed", "skipped", "failed")
        ]
        corrupt = value("fpj_images_failed_total", error_type="CorruptImage")
        completed, skipped, failed = (int(each) for each in results)
        return Counts(completed, skipped, failed, errors={"CorruptImage": int(corrupt)})

    @property
    def gained(self) -> tuple[int, int, int, int]:
        new = since(self._now(), self._before)
        return new.completed, new.skipped, new.failed, new.errors["CorruptImage"]


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_images_are_counted_while_their_job_is_at_work(counted: Counted) -> None:
    ended = value("fpj_jobs_ended_total", phase="CompletedWithErrors")
    counted.world.add()
    counted.look()
    counted.world.indexed(shards=2, total=250, skipped=50)
    counted.look()
    assert counted.gained == (0, 50, 0, 0)
    assert value("fpj_images_pending") == 200
    counted.world.worked(shard=0, completed=97, failed=3)
    counted.look()
    counted.look()
    assert counted.gained == (97, 50, 3, 3)
    assert value("fpj_images_pending") == 100
    counted.world.worked(shard=1, completed=100)
    counted.look()
    assert counted.gained == (197, 50, 3, 3)
    assert value("fpj_images_pending") == 0
    assert value("fpj_jobs_ended_total", phase="CompletedWithErrors") == ended + 1
    counted.look()
    assert counted.gained == (197, 50, 3, 3)


def test_who_takes_over_counts_no_image_again(counted: Counted) -> None:
    job = counted.world.add()
    counted.look()
    counted.world.indexed(shards=2, total=200)
    counted.world.worked(shard=0, completed=90, failed=10)
    counted.look()
    job.status |= {
        "progress": {"completed": 90, "failed": 10},
        "errorBreakdown": {"CorruptImage": 10},
    }
    counted.taken_over()
    counted.look()
    assert counted.gained == (90, 0, 10, 10)
    counted.world.worked(shard=1, completed=100)
    counted.look()
    counted.taken_over()
    counted.look()
    assert counted.gained == (190, 0, 10, 10)


def test_what_is_tried_again_counts_as_new_and_never_as_less(counted: Counted) -> None:
    job = counted.world.add()
    counted.look()
    counted.world.indexed(shards=1, total=10)
    counted.world.worked(shard=0, completed=7, failed=3)
    counted.look()
    assert job.phase() is Phase.COMPLETED_WITH_ERRORS
    job.resume = "again"
    counted.look()
    counted.world.indexed(shards=1, total=10)
    assert job.record
    job.record = replace(job.record, base=Counts(completed=7))
    counted.look()
    counted.world.worked(shard=0, completed=1, failed=2)
    counted.look()
    assert counted.gained == (8, 0, 5, 5)


def test_recoveries_are_counted_by_reason(counted: Counted) -> None:
    before = {
        reason: value("fpj_jobs_recovered_total", reason=reason) for reason in metrics.RECOVERIES
    }
    job = counted.world.add(recovery={"staleAfterSeconds": 60, "maxAttempts": 2})
    counted.look()
    counted.world.now += 61
    counted.world.lease = replace(counted.world.lease, expires_at=counted.world.now + 300)
    counted.look()
    assert job.status["recoveryAttempts"] == 1
    counted.world.lease = LeaseView()
    counted.look()
    job.resume = "again"
    counted.look()
    gained = {
        reason: value("fpj_jobs_recovered_total", reason=reason) - before[reason]
        for reason in before
    }
    assert gained == dict.fromkeys(before, 0) | {"StaleJob": 1, "LeaseLost": 1, "Resumed": 1}


class Observations:
    """What a histogram has gained since: how many, and their sum."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._before = self._now()

    def _now(self) -> tuple[float, float]:
        return value(f"{self._name}_count"), value(f"{self._name}_sum")

    def gained(self) -> tuple[float, float]:
        number, total = self._now()
        return number - self._before[0], total - self._before[1]


def test_silence_and_recovery_are_measured(counted: Counted) -> None:
    silence, recovery = (
        Observations("fpj_stale_detection_seconds"),
        Observations("fpj_job_recovery_seconds"),
    )
    job = counted.world.add(recovery={"staleAfterSeconds": 60, "maxAttempts": 2})
    counted.look()
    counted.world.indexed(shards=2, total=200)
    counted.look()
    counted.world.now += 61
    counted.world.lease = replace(counted.world.lease, expires_at=counted.world.now + 300)
    observed = counted.world.observe("photos")
    counted.tally.take(observed, counted.world.look("photos"))
    assert job.phase() is Phase.RECOVERING
    assert silence.gained() == (1, 61)
    assert recovery.gained() == (0, 0), "not yet"
    counted.world.now += 5
    counted.look()
    counted.world.indexed(shards=2, total=200)
    counted.look()
    assert job.phase() is Phase.RUNNING
    assert recovery.gained() == (1, 5)
    counted.look()
    assert (silence.gained(), recovery.gained()) == ((1, 61), (1, 5)), "each of them once"


def test_how_far_a_status_is_behind_the_store_is_measured(counted: Counted) -> None:
    delay = Observations("fpj_status_delay_seconds")
    job = counted.world.add()
    counted.look()
    counted.world.indexed(shards=2, total=200)
    counted.look()
    assert delay.gained() == (0, 0), "the status says nothing of progress yet"
    job.status["lastProgressAt"] = moment(counted.world.now)  # as a worker reports it
    counted.look()
    assert delay.gained() == (4, 0), "it says what the store says"
    counted.world.now += 7
    counted.world.worked(shard=0, completed=50)
    counted.tally.take(counted.world.observe("photos"), counted.world.look("photos"))
    assert delay.gained() == (5, 7), "seven seconds of progress are missing"


def test_a_job_that_is_gone_leaves_nothing_pending(counted: Counted) -> None:
    job = counted.world.add()
    counted.look()
    counted.world.indexed(shards=2, total=200)
    counted.look()
    assert value("fpj_images_pending") == 200
    counted.tally.forget(job.uid)
    assert value("fpj_images_pending") == 0


def test_phases_are_told_in_the_log(counted: Counted, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "fpj")
    counted.world.add()
    counted.look()
    counted.world.indexed(shards=0, total=5, skipped=5)
    counted.look()
    reported = [vars(record) for record in caplog.records if record.message == "phase changed"]
    assert [(each["before"], each["phase"], each["reason"]) for each in reported] == [
        ("Pending", "Indexing", "Indexing"),
        ("Indexing", "Completed", "AllImagesDone"),
    ]


def test_jobs_that_wait_and_jobs_in_trouble() -> None:
    queue = JobQueue(1)
    queue.note(body(1, "Running"))
    for number in range(3):
        queue.note(body(2, "Pending", "Queued", name=f"waits-{number}", uid=f"w{number}"))
    gauges.show_jobs(queue)
    assert value("fpj_jobs", phase="Pending") == value("fpj_jobs_queued") == 3
    stuck = body(3, "Running")
    stuck["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "reason": "ImagePullFailed"}
    ]
    queue.note(stuck)
    odd = body(4, "Running", name="odd", uid="odd")
    odd["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "reason": "NobodyKnows"}
    ]
    queue.note(odd)
    gauges.show_jobs(queue)
    assert (
        value("fpj_jobs_in_trouble", reason="ImagePullFailed")
        == value("fpj_jobs_in_trouble", reason="Other")
        == 1
    )
    assert queue.uid_of(KEY) == "1"
    queue.note(body(5, "Completed"))
    queue.forget(Key(KEY.namespace, "odd"))
    gauges.show_jobs(queue)
    assert (
        value("fpj_jobs_in_trouble", reason="ImagePullFailed")
        == value("fpj_jobs_in_trouble", reason="Other")
        == 0
    )


def test_every_trouble_that_the_code_knows_has_its_label() -> None:
    source = next(path for path in SOURCES if path.stem == "trouble").read_text(encoding="utf-8")
    known = reasons_in(source) | REASONS | {reason.value for reason in Reason}
    assert known - ALL_IS_WELL <= set(gauges.TROUBLES)


def test_folders_are_named_with_what_they_hold_and_may_hold() -> None:
    labels = {"folder_namespace": "team", "folder": "cache"}
    folder = {
        "metadata": {"namespace": "team", "name": "cache"},
        "spec": {"maxBytes": "1Gi"},
        "status": {"totalBytes": 5_000},
    }
    metrics.show_folder(folder, gone=False)
    assert value("fpj_cache_folder_bytes", **labels) == 5_000
    assert value("fpj_cache_folder_max_bytes", **labels) == 2**30
    metrics.show_folder(folder | {"spec": {"maxBytes": "much"}}, gone=False)
    assert REGISTRY.get_sample_value("fpj_cache_folder_max_bytes", labels) is None, (
        "no limit that makes sense"
    )
    metrics.show_folder(folder, gone=True)
    assert REGISTRY.get_sample_value("fpj_cache_folder_bytes", labels) is None
