"""Experiments with the store, with pods, and with the job's own spec."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from functools import partial

from e2e.installation import process_of
from e2e.photographs import LITTLE, running
from world import FINISHED

from experiments.bed import patch_spec
from experiments.disks import fill, mount, mounted, move
from experiments.trial import Trial, done, experiment, pictures, slow_job

_FEW = {"resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}}


@experiment(
    "store-outages", "the store is killed or stopped 15 times, by a seed, while 400 images are made"
)
def store_outages(trial: Trial) -> None:
    chance = random.Random(3)
    with trial.place() as (site, _):
        sizes = pictures(site, "outages", 400)
        slow_job(site, "outages", "outages", slowness=0.2)
        trial.wait(lambda: done(site, "outages") > 8, "it runs")
        database = site.fpj.database
        for number in range(15):
            seconds = chance.uniform(3, 9)
            if number % 2:
                with database.stopped():
                    time.sleep(seconds)
            else:
                database.kill()
                time.sleep(seconds)
                database.start()
            trial.injected(f"{'stopped' if number % 2 else 'killed'} for {seconds:.1f} s")
            time.sleep(chance.uniform(2, 5))
            if site.status("outages").get("phase") in FINISHED:
                break
        status = site.wait_end("outages", seconds=300)
        site.check("outages", sizes, LITTLE)
        attempt, recoveries = status["attempt"]["number"], status.get("recoveryAttempts", 0)
        trial.must(
            (attempt, recoveries) == (1, 0),
            f"400 images exact; attempt {attempt}, recoveries {recoveries}",
        )


@experiment(
    "store-away", "the store goes, every operator restarts, and the last of 40 jobs is suspended"
)
def store_away(trial: Trial) -> None:
    trial.bed.set(maxConcurrentJobs=40)
    with trial.place() as (site, _):
        sizes = pictures(site, "one", 48)
        slow_job(site, "last", "one", slowness=1.0, collection="last")
        for number in range(39):
            slow_job(
                site,
                f"other-{number}",
                "one",
                slowness=60.0,
                collection=f"other-{number}",
                workerTemplate=_FEW,
            )
        trial.wait(lambda: done(site, "last") > 4, "it runs", 180)
        site.fpj.database.kill()
        trial.bed.replace_operators()
        trial.injected("the store is gone, and both operators are killed")
        patch_spec(trial.bed, site.namespace, "last", suspend=True)
        trial.wait(lambda: trial.bed.leader, "an operator leads", 120)
        start = time.monotonic()
        ended_after = trial.took(
            lambda: not running(site, "last"), "the pods of the suspended job end", 60
        )
        trial.seen(
            f"its status: {site.status('last').get('phase')},"
            f" {site.condition('last', 'Progressing')[1]}"
        )
        names = [f"other-{number}" for number in range(39)]
        started = [
            name for name in names if site.status(name).get("phase") in ("Indexing", "Running")
        ]

        def heard() -> bool:
            return all(
                site.condition(name, "Progressing")[1] == "StoreUnavailable" for name in started
            )

        trial.took(heard, f"all {len(started)} started jobs say StoreUnavailable", 60)
        trial.seen(
            f"{time.monotonic() - start:.1f} s after an operator led, the pods' end included"
            f" ({ended_after:.1f} s)"
        )
        site.fpj.database.start()
        for name in names:
            site.kube("delete", "fpj", name, "--wait=false")
        patch_spec(trial.bed, site.namespace, "last", suspend=False)
        site.wait_end("last", seconds=300)
        site.check("last", sizes, LITTLE)
        trial.must(True, "the suspended job, resumed, is exact")
    trial.bed.set()


@experiment(
    "waves", "one of 1,200 shards fails for good in the first wave, and none may: maxFailedShards 0"
)
def waves(trial: Trial) -> None:
    with trial.place() as (site, _):
        pictures(site, "waves", 1_200)
        sharding = {"shardSize": 1, "maxFailedShards": 0, "backoffLimitPerShard": 0}
        slow_job(site, "waves", "waves", slowness=5.0, sharding=sharding)
        trial.wait(lambda: running(site, "waves"), "a pod runs", 120)
        time.sleep(4)
        process_of(running(site, "waves")[0]).kill()
        trial.injected("one pod is killed")
        status = site.wait_end("waves", "Failed", 120)
        reason = site.condition("waves", "Failed")[1]
        jobs = site.kube("get", "jobs", "-o", "name").split()
        trial.must(
            status["attempt"]["number"] == 1,
            f"Failed, {reason}, in attempt {status['attempt']['number']}",
        )
        trial.must(
            not [name for name in jobs if name.endswith("-w1")],
            f"no second wave among {len(jobs)} child Jobs",
        )
        trial.took(lambda: not site.alive(), "no pod is left", 60)


@experiment(
    "rescued", "a shard is rescued and its pod cannot be replaced; then the namespace is deleted"
)
def rescued(trial: Trial) -> None:
    with trial.place() as (site, _):
        sizes = pictures(site, "rescued", 80)
        slow_job(
            site,
            "rescued",
            "rescued",
            slowness=0.5,
            sharding={"shardSize": 40, "backoffLimitPerShard": 2},
        )
        trial.wait(
            lambda: done(site, "rescued") > 8 and len(running(site, "rescued")) == 2,
            "both pods work",
            90,
        )
        first = running(site, "rescued")[0]
        trial.bed.kube("taint", "nodes", "--all", "broken=yes:NoSchedule")
        try:
            process_of(first).kill()
            trial.injected("no pod can be scheduled any more, and one is killed")
            site.wait_end("rescued", seconds=180)
            site.check("rescued", sizes, LITTLE)
            trial.took(
                lambda: not site.alive(), "no pod waits any more once the job is Completed", 30
            )
            left = json.loads(site.kube("get", "jobs", "-o", "json"))["items"]
            ended = [
                each
                for each in left
                if any(c["status"] == "True" for c in each["status"].get("conditions", []))
            ]
            trial.must(
                len(ended) == len(left),
                f"{len(left) - len(ended)} of {len(left)} child Jobs are unfinished",
            )
            site.kube("delete", "namespace", site.namespace, "--wait=false")
            gone = "--ignore-not-found", "-o", "name"
            trial.took(
                lambda: not trial.bed.kube("get", "namespace", site.namespace, *gone).strip(),
                "it is gone",
                60,
            )
        finally:
            trial.bed.kube("taint", "nodes", "--all", "broken=yes:NoSchedule-")


@experiment(
    "deadline",
    "a job with 30 s to live is suspended for 40 s, and resumed while another has its collection",
)
def deadline(trial: Trial) -> None:
    with trial.place() as (site, _):
        sizes = pictures(site, "deadline", 48)
        slow_job(
            site, "timed", "deadline", slowness=0.5, collection="same", activeDeadlineSeconds=30
        )
        trial.wait(lambda: done(site, "timed") > 4, "it runs", 90)
        patch_spec(trial.bed, site.namespace, "timed", suspend=True)
        trial.wait(lambda: site.status("timed").get("phase") == "Suspended", "it is suspended", 30)
        slow_job(site, "between", "deadline", slowness=3.0, collection="same")
        time.sleep(40)
        patch_spec(trial.bed, site.namespace, "timed", suspend=False)
        trial.injected("suspended for 40 s, then resumed behind another job")
        trial.wait(
            lambda: site.condition("timed", "Progressing")[1] == "CollectionLocked", "it waits", 30
        )
        site.wait_end("between", seconds=180)
        status = site.wait_end("timed", seconds=120)
        total = status["progress"]["completed"] + status["progress"]["skipped"]
        trial.must(total == len(sizes), f"Completed, {total} of {len(sizes)} accounted for")


@experiment("decoder", "what a decoder's process of a real pod has, as this machine sees it")
def decoder(trial: Trial) -> None:
    with trial.place() as (site, _):
        pictures(site, "decoder", 24)
        slow_job(site, "decoder", "decoder", slowness=3.0)
        trial.wait(lambda: done(site, "decoder") > 0, "it runs", 90)
        worker = process_of(running(site, "decoder")[0])
        children = [each for each in worker.children(recursive=True) if each.children() == []]
        secrets = site.fpj.database.url.encode()
        for child in children:
            with open(f"/proc/{child.pid}/environ", "rb") as file:
                environment = file.read()
            names = sorted(
                each.split(b"=")[0].decode() for each in environment.split(b"\0") if each
            )
            trial.must(
                secrets not in environment,
                f"no store in the environment of {child.pid}: {', '.join(names)}",
            )
            with open(f"/proc/{child.pid}/status") as file:
                shown = dict(line.rstrip().split(":\t", 1) for line in file if ":\t" in line)
            trial.must(shown["Seccomp"] == "2", f"seccomp filters: {shown.get('Seccomp_filters')}")
        trial.must(children, f"{len(children)} decoders were seen")
        with open(f"/proc/{worker.pid}/environ", "rb") as file:
            trial.must(secrets in file.read(), "its supervisor does have the store's address")
        namespace = os.readlink(f"/proc/{worker.pid}/ns/user")
        trial.seen(
            f"user namespace of the pod: {namespace}, of this machine:"
            f" {os.readlink('/proc/self/ns/user')}"
        )


@experiment(
    "environment",
    "the cache folder is full, then read-only, then the source is gone, for 25 s each",
)
def environment(trial: Trial) -> None:
    with trial.place() as (site, _), mounted(site.out):
        sizes = pictures(site, "environment", 240)
        slow_job(site, "environment", "environment", slowness=0.3)
        trial.wait(lambda: done(site, "environment") > 8, "it runs", 90)
        source, away = site.folder / "environment", site.folder / "away"
        faults: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "full": (lambda: fill(site.out / "filler"), (site.out / "filler").unlink),
            "read-only": (
                lambda: mount(site.out, "-o", "remount,ro"),
                lambda: mount(site.out, "-o", "remount,rw"),
            ),
            "without a source": (lambda: move(source, away), lambda: move(away, source)),
        }

        def reports_it() -> bool:
            return site.condition("environment", "Progressing")[1] == "EnvironmentFault"

        def has_more(images: int) -> bool:
            return done(site, "environment") > images

        for what, (begin, end) in faults.items():
            before = done(site, "environment")
            begin()
            trial.injected(f"{what}, with {before} images done")
            try:
                trial.took(reports_it, "the condition says EnvironmentFault", 60)
                trial.seen(site.condition("environment", "Progressing")[2][:200])
                time.sleep(25)
            finally:
                end()
            healed = done(site, "environment")
            trial.took(partial(has_more, healed), "images are made again", 180)
            trial.took(lambda: not reports_it(), "the condition says so no more", 60)
        status = site.wait_end("environment", seconds=400)
        site.check("environment", sizes, LITTLE)
        attempt, recoveries = status["attempt"]["number"], status.get("recoveryAttempts", 0)
        trial.must(
            (attempt, recoveries) == (1, 0),
            f"240 images exact; attempt {attempt}, recoveries {recoveries}",
        )
