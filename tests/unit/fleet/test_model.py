"""The simulation of a fleet: against what can be computed by hand, against the code it stands for,
and against runs.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from fpj_core.v1alpha1 import FileProcessingJobSpec, resolve_sharding
from fpj_core.v1alpha1.defaults import shard_size
from fpj_worker.pod.report import pause_after_miss

sys.path.append(str(Path(__file__).parents[3] / "hack"))
from fpj_fleet import model
from fpj_fleet.figures import Figures, load
from fpj_fleet.model import Fleet, simulate
from fpj_fleet.page import predict

SPEC = {
    "jobType": "Both",
    "collection": {"source": {"persistentVolumeClaim": {"claimName": "photographs"}}},
}


@pytest.fixture(scope="module")
def figures() -> Figures:
    return load()


def fleet(**changes: object) -> Fleet:
    base = Fleet(1_000_000, 10, 50.0, store_cores=1e6, default_limits=False, spread=False)
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "pods"),
    [(1, 1), (900, 4), (1_000_000, 4), (10**6, 900), (50_000_000, 1_000), (10**8, 7)],
)
def test_shards_are_those_of_the_worker(images: int, pods: int) -> None:
    spec = FileProcessingJobSpec.model_validate(SPEC | {"sharding": {"parallelism": pods}})
    assert shard_size(images, pods) == resolve_sharding(spec, images).shard_size


def test_one_pod_takes_as_long_as_its_images_and_its_starts(figures: Figures) -> None:
    outcome = simulate(fleet(images=10_000, pods=1, shard_size=2_500), figures)
    work = 10_000 * 0.050 * figures["worker.overhead"] / 4
    between = figures["job.bind"] + figures["pod.start"] + figures["pod.end_noticed"]
    assert outcome.stages["process"] == pytest.approx(
        work + 4 * between - figures["pod.end_noticed"]
    )
    assert outcome.busy == pytest.approx(work / outcome.stages["process"])


def test_all_that_is_recorded_is_counted(figures: Figures) -> None:
    outcome = simulate(fleet(images=1_000_000), figures)
    flushes = (
        outcome.store["results recorded"].mean
        * outcome.stages["process"]
        / figures.commands["flush"]
    )
    assert flushes == pytest.approx(10_000, rel=0.01)
    events = outcome.api["events"].mean * outcome.stages["process"]
    assert events == pytest.approx(outcome.shards * figures.requests["events"])


def test_a_small_store_bounds_the_job_whatever_the_number_of_pods(figures: Figures) -> None:
    slow = [
        simulate(fleet(images=5_000_000, pods=pods, store_cores=0.2), figures)
        for pods in (200, 400)
    ]
    most = 0.2 / (figures["store.image_us"] / 1e6)
    for outcome in slow:
        assert outcome.store_cores <= 0.23
        assert 5_000_000 / outcome.stages["process"] < most
    assert slow[1].stages["process"] > 0.9 * slow[0].stages["process"]


def test_a_node_bounds_the_pods_that_share_it(figures: Figures) -> None:
    free, bound = simulate(fleet(pods=10), figures), simulate(fleet(pods=10, cores=10.0), figures)
    assert bound.stages["process"] == pytest.approx(4 * free.stages["process"], rel=0.05)


def test_kubernetes_default_limits_bound_short_shards(figures: Figures) -> None:
    outcome = simulate(
        fleet(images=100_000, pods=1_000, shard_size=100, default_limits=True), figures
    )
    assert outcome.stages["process"] >= 2_000 / figures["limits.job_controller_default"] * 0.9


def test_the_tail_is_what_pods_without_work_wait_for_the_others(figures: Figures) -> None:
    alone = simulate(fleet(images=10_000, pods=1, shard_size=2_500), figures)
    assert alone.tail == 0
    uneven = simulate(fleet(images=15_000, pods=2, shard_size=10_000), figures)
    assert uneven.tail == pytest.approx(5_000 * 0.050 * figures["worker.overhead"] / 4, rel=0.05)


def test_it_says_the_same_each_time(figures: Figures) -> None:
    wide = Fleet(3_000_000, 500, 50.0)
    assert simulate(wide, figures) == simulate(wide, figures)


@pytest.mark.parametrize("pods", [1, 10, 100, 1_000])
def test_pods_ask_to_report_as_often_as_they_do(pods: int, figures: Figures) -> None:
    chance = Random(0)
    mean = sum(pause_after_miss(5.0, pods, chance) for _ in range(4_000)) / 4_000
    assert model.report_pause(pods, figures) == pytest.approx(mean, rel=0.05)


def test_measured_runs_are_foretold(figures: Figures) -> None:
    assert figures.checks
    for check in figures.checks:
        assert predict(check, figures) == pytest.approx(check.seconds, rel=0.25), check.name


def test_each_figure_says_where_it_is_from(figures: Figures) -> None:
    for each in (*figures.figures.values(), *(kind.figure for kind in figures.kinds.values())):
        assert each.source and each.value > 0
