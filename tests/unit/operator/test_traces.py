"""A job's life as a trace: which stages it had, and what a collector gets of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from otlp_receiver import OtlpReceiver
from unit.operator.world import World

from fpj_core.formatting import moment
from fpj_operator.jobs.state import Observed
from fpj_operator.jobs.traces import Stage, Traces, stages_of, traces_from

UID = "0e1f4c3a-1b2c-4d5e-8f90-a1b2c3d4e5f6"
BEGAN = 1_000_000.0


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        yield receiver


def ended(*, failed: bool = False, **changes: Any) -> tuple[Observed, dict[str, Any]]:
    """A job that waited 30 s, listed for 20, checked for 5, planned for 5 and worked for 40,
    in a look at its end.
    """
    world = World(now=BEGAN)
    deadline: dict[str, Any] = {"activeDeadlineSeconds": 60} if failed else {}
    job = world.add(**deadline)
    world.now = BEGAN + 30
    world.settle()
    world.now = BEGAN + 60
    world.indexed(shards=1, total=100)
    assert job.record
    stages = {"Index": BEGAN + 30.5, "Check": BEGAN + 50, "Plan": BEGAN + 55}
    job.record = replace(job.record, stages=stages, running_since=BEGAN + 60)
    world.settle()
    world.now = BEGAN + 100
    world.worked(shard=0, completed=90, failed=10) if not failed else None
    world.now = BEGAN + 101.5
    plan = world.look()
    assert plan.status
    observed = replace(world.observe("photos"), uid=UID, now=world.now)
    return replace(observed, **changes), dict(plan.status)


def test_stages_follow_each_other_without_gaps() -> None:
    observed, status = ended()
    assert stages_of(observed, status) == [
        Stage("Queue", BEGAN, BEGAN + 30),
        Stage("Index", BEGAN + 30, BEGAN + 50),
        Stage("Check", BEGAN + 50, BEGAN + 55),
        Stage("Plan", BEGAN + 55, BEGAN + 60),
        Stage("Process", BEGAN + 60, BEGAN + 100),
        Stage("Finish", BEGAN + 100, BEGAN + 101.5),
    ]


def test_an_earlier_attempt_is_one_stage_and_a_resumed_job_did_not_queue() -> None:
    observed, status = ended()
    status["startTime"] = moment(BEGAN + 10)
    names = [stage.name for stage in stages_of(observed, status)]
    assert names[:3] == ["Queue", "EarlierAttempts", "Index"]
    status |= {
        "attempt": status["attempt"] | {"number": 2, "resumedBy": "again"},
        "startTime": moment(BEGAN + 30),
    }
    assert [stage.name for stage in stages_of(observed, status)] == ["Index"], (
        "the plan is that of the first attempt"
    )


def test_what_was_never_begun_was_only_queued() -> None:
    observed, status = ended()
    status = {"phase": "Failed", "conditions": status["conditions"], "attempt": {"number": 0}}
    assert stages_of(observed, status) == [Stage("Queue", BEGAN, BEGAN + 101.5)]


def test_clocks_that_differ_make_no_stage_end_before_it_begins() -> None:
    observed, status = ended()
    record = observed.store.record
    assert record
    late = replace(
        record, stages={"Check": BEGAN - 500, "Plan": BEGAN + 900}, running_since=BEGAN + 20
    )
    stages = stages_of(replace(observed, store=replace(observed.store, record=late)), status)
    assert all(stage.began <= stage.ended <= observed.now for stage in stages)
    assert [one.ended for one in stages[:-1]] == [other.began for other in stages[1:]]


def test_a_collector_gets_the_whole_life(receiver: OtlpReceiver) -> None:
    traces = traces_from()
    assert traces
    observed, status = ended()
    traces.send(observed, status)
    traces.send(*ended(failed=True, uid=UID.replace("0e1f", "ffff")))
    traces.close()
    life, *stages = receiver.trace(UID)
    assert (life.name, life.parent_span_id) == ("FileProcessingJob", b"")
    assert (life.start_time_unix_nano, life.end_time_unix_nano) == (
        int(BEGAN * 1e9),
        int((BEGAN + 101.5) * 1e9),
    )
    assert [stage.name for stage in stages] == [
        "Queue",
        "Index",
        "Check",
        "Plan",
        "Process",
        "Finish",
    ]
    assert {stage.parent_span_id for stage in stages} == {life.span_id}
    said = {each.key: each.value.string_value or each.value.int_value for each in life.attributes}
    assert said["fpj.job"] == "photos" and said["fpj.phase"] == "CompletedWithErrors"
    assert (said["fpj.images.completed"], said["fpj.images.failed"]) == (90, 10)
    assert life.status.code == 0
    failed = receiver.trace(UID.replace("0e1f", "ffff"))[0]
    assert (failed.status.code, "activeDeadlineSeconds" in failed.status.message) == (2, True)
    assert receiver.services == {"fpj-operator"}


def test_nothing_is_sent_nor_loaded_without_an_endpoint() -> None:
    assert traces_from({}) is None
    script = (
        "import sys, fpj_operator.main; print([name for name in sys.modules if"
        " name.startswith('opentelemetry')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"


def test_without_the_extra_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert traces_from({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}) is None
    assert "tracing" in caplog.text


def test_a_collector_that_is_away_costs_no_job_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    traces = traces_from()
    assert isinstance(traces, Traces)
    traces.send(*ended())
    traces.close()
