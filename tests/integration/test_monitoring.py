"""A real Prometheus watches a live run: each panel and each alert has its data,
and fires only for a reason.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import draw_dashboard
import pytest
from api_process import ApiProcess, Client
from mongodb_server import free_port
from monitoring_files import metrics_in, rules
from operator_process import OperatorProcess
from otlp_receiver import OtlpReceiver
from prometheus_process import PrometheusProcess
from world import World, slowly, world_in

from fpj_cluster import Cluster
from fpj_generate import grafana as generator

pytestmark = pytest.mark.timeout(300)

IMAGES, BROKEN = 60, 6
QUIET = (
    "FpjOperatorDown",
    "FpjApiDown",
    "FpjApiErrors",
    "FpjNoLeader",
    "FpjSeveralLeaders",
    "FpjStoreUnreachable",
    "FpjReconcileErrors",
)
"""What must never fire, or be about to, while all is well."""


@dataclass
class Watched:
    """A run in the middle: one job has ended, one is active, one is queued, one cannot start."""

    world: World
    prometheus: PrometheusProcess
    receiver: OtlpReceiver
    leader: OperatorProcess
    other: OperatorProcess

    def answer(self, query: str) -> list[tuple[dict[str, str], float]]:
        """What a panel would show, with the dashboard's variables filled in."""
        filled = query.replace("$namespace", ".*").replace("$__rate_interval", "20s")
        assert "$" not in filled
        return self.prometheus.query(filled)


@pytest.fixture(scope="module")
def watched(
    cluster: Cluster, mongodb_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    folder: Path = tmp_path_factory.mktemp("watched")
    port = free_port()
    with OtlpReceiver() as receiver, world_in(cluster, mongodb_server, folder / "world") as world:
        # Pods are processes of one machine here, so one at a time has the port; the others only
        # miss their metrics. One slot for the two that can run: the job whose pods cannot start
        # takes none.
        settings = {"worker_env_fpj_metrics_port": port, "max_concurrent_jobs": 1}
        leader = world.operator(start=False, **settings)
        leader.add({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
        leader.start()
        other = world.operator(start=False, **settings)
        other.start(wait=False)
        operators = [f"127.0.0.1:{each.metrics_port}" for each in (leader, other)]
        api = ApiProcess(cluster.kubeconfig, f"{mongodb_server}/api", folder)
        targets = {
            "fpj-operator": operators,
            "fpj-workers": [f"127.0.0.1:{port}"],
            "fpj-api": [f"127.0.0.1:{api.metrics_port}"],
        }
        with (
            api,
            asked(api),
            PrometheusProcess(
                folder / "prometheus", targets, {"namespace": "fpj-system"}
            ) as prometheus,
        ):
            run(world)
            yield Watched(world, prometheus, receiver, leader, other)


@contextmanager
def asked(api: ApiProcess) -> Iterator[None]:
    """Somebody whom the cluster does not know asks for the jobs, twice a second."""
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.5):
            assert Client(api.url, "of nobody").ask("GET", "/api/v1/jobs")[0] == 401

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def run(world: World) -> None:
    """Bring the world to the middle of its work."""
    world.cache_folder(maxBytes="50Mi")
    world.photos("photos", IMAGES, broken=BROKEN)
    world.photos("more", IMAGES, broken=BROKEN)
    world.photos("stuck", 1)
    world.runner.refuse("stuck-")
    world.job("stuck", "stuck")
    world.job("first", "photos", sharding={"parallelism": 1})
    world.wait_end("first", "CompletedWithErrors")
    world.wait_reason("stuck", "ImagePullFailed", "Progressing")
    with slowly(world, 0.4):
        world.job("second", "more", sharding={"parallelism": 1, "batchSize": 2})
        world.wait_phase("second", "Running")
        world.job("third", "photos", priority=-1)
        world.wait_reason("third", "Queued")
        world.until(
            lambda: world.store.job_counts(world.uid("second"), 1)[0].done >= 10, "images are made"
        )


PANELS = [panel for panels in generator.ROWS.values() for panel in panels]


@pytest.mark.parametrize("panel", PANELS, ids=[panel.title for panel in PANELS])
def test_every_panel_has_data(watched: Watched, panel: generator.Panel) -> None:

    def has_data(query: str) -> bool:
        return any(value == value for _, value in watched.answer(query))

    for query, _ in panel.queries:
        watched.world.until(
            partial(has_data, query), f"there is data for {panel.title}: {query}", 20
        )


def test_the_dashboard_can_be_drawn(watched: Watched) -> None:
    now = time.time()
    picture = ElementTree.fromstring(
        draw_dashboard.draw(draw_dashboard.Span(watched.prometheus.url, now - 60, now))
    )
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {*generator.ROWS, *(panel.title for panel in PANELS)} <= set(texts)
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}polyline"))) > len(PANELS)


def test_the_numbers_are_those_of_the_run(watched: Watched) -> None:
    """Of the first job, which has ended, and of the second, which is still active."""

    def number(query: str) -> float:
        ((_, value),) = watched.answer(query)
        return value

    assert number('sum(fpj_jobs_ended_total{phase="CompletedWithErrors"})') == 1
    assert number("sum(fpj_operator_leader)") == 1
    assert number("sum(fpj_jobs_queued)") == 1
    assert number('sum(fpj_jobs_in_trouble{reason="ImagePullFailed"})') == 1
    assert number('sum(fpj_images_total{result="completed"})') > IMAGES - BROKEN, (
        "those of active jobs count too"
    )
    assert BROKEN <= number('sum(fpj_images_total{result="failed"})') <= 2 * BROKEN
    assert 0 < number("sum(fpj_images_pending)") < IMAGES + 1
    labels = f'{{folder_namespace="{watched.world.namespace}", folder="cache"}}'
    assert number(f"fpj_cache_folder_max_bytes{labels}") == 50 * 2**20
    files = sum(path.stat().st_size for path in watched.world.out.rglob("*.jpg"))
    assert 0 < number(f"fpj_cache_folder_bytes{labels}") <= files
    assert number('sum(fpj_store_seconds_count{operation="get_job", job="fpj-operator"})') > 0
    assert watched.other.metric("fpj_operator_leader") == 0


def test_the_life_of_the_job_that_ended_was_told_as_a_trace(watched: Watched) -> None:
    uid = watched.world.uid("first")
    life, *stages = watched.world.until(
        lambda: watched.receiver.trace(uid), "the trace has come", 30
    )
    assert [stage.name for stage in stages] == [
        "Queue",
        "Index",
        "Check",
        "Plan",
        "Process",
        "Finish",
    ]
    assert all(stage.start_time_unix_nano <= stage.end_time_unix_nano for stage in stages)
    said = {each.key: each.value.string_value or each.value.int_value for each in life.attributes}
    assert (said["fpj.job"], said["fpj.phase"]) == ("first", "CompletedWithErrors")
    assert (said["fpj.images.completed"], said["fpj.images.failed"]) == (IMAGES - BROKEN, BROKEN)


def test_alerts_are_evaluated_and_quiet(watched: Watched) -> None:
    found = {rule["name"]: rule for rule in watched.prometheus.rules()}
    assert set(found) == set(rules())
    watched.world.until(
        lambda: all(rule["health"] == "ok" for rule in watched.prometheus.rules()),
        "each rule has been evaluated",
    )
    states = {rule["name"]: rule["state"] for rule in watched.prometheus.rules()}
    assert {states[name] for name in QUIET} == {"inactive"}
    assert states["FpjJobsInTrouble"] == "pending", "a job has lacked its image for some seconds"


def test_a_store_that_is_away_is_counted_and_about_to_be_told(watched: Watched) -> None:
    """The last test of this file: it disturbs the run."""
    watched.world.switch.off()
    try:
        watched.world.until(
            lambda: (
                {rule["name"]: rule["state"] for rule in watched.prometheus.rules()}[
                    "FpjStoreUnreachable"
                ]
                != "inactive"
            ),
            "the alert is pending",
            90,
        )
    finally:
        watched.world.switch.on()
    queries = {query for panel in PANELS for query, _ in panel.queries}
    (query,) = {query for query in queries if "fpj_store_errors_total" in metrics_in(query)}
    assert any(value > 0 for _, value in watched.answer(query))


def test_every_line_of_the_operator_about_a_job_names_it(watched: Watched) -> None:
    entries = [
        entry for level in ("info", "warning", "error") for entry in watched.leader.entries(level)
    ]
    reported = [entry for entry in entries if entry["message"] == "phase changed"]
    assert ("first", "Running", "CompletedWithErrors") in {
        (entry["job"], entry["before"], entry["phase"]) for entry in reported
    }
    for entry in entries:
        if entry["logger"] in ("fpj.jobs", "fpj.controller", "fpj.workqueue", "fpj.execute"):
            assert (entry["namespace"], entry["uid"]) == (
                watched.world.namespace,
                watched.world.uid(str(entry["job"])),
            )
