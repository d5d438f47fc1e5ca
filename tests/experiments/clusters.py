"""Experiments with the API server, with quotas, with rights, and with other versions."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accounts import account, grant
from e2e.photographs import LITTLE, running
from world import job_manifest, resource

from experiments.bed import Version, patch_spec
from experiments.trial import Trial, done, experiment, pictures, slow_job
from fpj_cluster import ClusterError

_CRD = "fileprocessingjobs.fpj.dev"


@experiment(
    "newer-resource",
    "the resource gets a field that the operator does not know, and a running job uses it",
)
def newer_resource(trial: Trial) -> None:
    with trial.place() as (site, _):
        sizes = pictures(site, "newer", 60)
        slow_job(site, "newer", "newer", slowness=0.5)
        trial.wait(lambda: done(site, "newer") > 4, "it runs", 90)
        path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/ofTomorrow"
        patch = [{"op": "add", "path": path, "value": {"type": "string"}}]
        trial.bed.kube("patch", "crd", _CRD, "--type=json", "--patch", json.dumps(patch))
        try:

            def applied() -> bool:
                patch_spec(trial.bed, site.namespace, "newer", ofTomorrow="yes")
                return "ofTomorrow" in (site.get("newer") or {})["spec"]

            trial.wait(applied, "the API server knows the field", 30)
            trial.injected("spec.ofTomorrow of a running job")
            site.wait_end("newer", seconds=180)
            site.check("newer", sizes, LITTLE)
            status = site.status("newer")
            trial.must(
                status["attempt"]["number"] == 1, f"exact, in attempt {status['attempt']['number']}"
            )
        finally:
            patch = [{"op": "remove", "path": path}]
            trial.bed.kube("patch", "crd", _CRD, "--type=json", "--patch", json.dumps(patch))


@experiment("one-collection", "60 jobs want one collection, another one is free; priority decides")
def one_collection(trial: Trial) -> None:
    trial.bed.set(maxConcurrentJobs=3)
    with trial.place() as (site, _):
        sizes = pictures(site, "shared", 60)
        pictures(site, "free", 12)
        slow_job(site, "holder", "shared", slowness=1.5, collection="shared")
        trial.wait(lambda: done(site, "holder") > 2, "it runs", 90)
        for number in range(60):
            site.job(
                f"waiter-{number:02}", "shared", collection="shared", suspend=False, priority=number
            )
        trial.wait(
            lambda: "CollectionLocked" in site.condition("waiter-00", "Progressing")[1],
            "they wait",
            60,
        )
        time.sleep(5)
        since = datetime.now(UTC).isoformat()
        time.sleep(20)
        writes = trial.bed.status_writes(since, site.namespace)
        trial.must(
            writes <= 6, f"{writes} status writes in 20 s, those of the running job included"
        )
        slow_job(site, "free", "free", slowness=0.0)
        trial.took(
            lambda: site.status("free").get("phase") == "Completed",
            "the free collection's job ends",
            60,
            45,
        )
        site.wait_end("holder", seconds=180)
        site.check("holder", sizes, {"full": (200, 150), "thumbnail": (64, 64)})

        def at_work() -> list[str]:
            jobs = trial.bed.api.items(
                f"/apis/fpj.dev/v1alpha1/namespaces/{site.namespace}/fileprocessingjobs"
            )
            started = [each for each in jobs if each["status"].get("phase") != "Pending"]
            return [
                each["metadata"]["name"]
                for each in started
                if each["metadata"]["name"].startswith("waiter")
            ]

        first = trial.wait(at_work, "a waiter gets the lock", 60)
        trial.must(first == ["waiter-59"], f"the next is {first}")
    trial.bed.set()


@experiment("mistyped", "ten jobs with a claim that does not exist, and room for two jobs at once")
def mistyped(trial: Trial) -> None:
    trial.bed.set(maxConcurrentJobs=2)
    with trial.place() as (site, _):
        sizes = pictures(site, "good", 12)
        for number in range(10):
            site.job(
                f"mistyped-{number}",
                "no-such-claim",
                collection=str(number),
                preRunningDeadlineSeconds=40,
            )
        trial.wait(
            lambda: site.condition("mistyped-0", "Progressing")[1] not in ("", "Indexing"),
            "they report it",
            60,
        )
        trial.seen(": ".join(site.condition("mistyped-0", "Progressing")[1:]))
        slow_job(site, "good", "good", slowness=0.0)
        trial.took(
            lambda: site.status("good").get("phase") == "Completed", "the job that can run ends", 90
        )
        site.check("good", sizes, LITTLE)

        def failed() -> bool:
            return all(
                site.status(f"mistyped-{number}").get("phase") == "Failed" for number in range(10)
            )

        trial.took(failed, "those that cannot run are Failed after 40 s each", 240)
        trial.seen(": ".join(site.condition("mistyped-9", "Failed")[1:]))
    trial.bed.set()


@experiment("quota-of-runs", "20 schedules of every minute, and a quota of 5 jobs")
def quota_of_runs(trial: Trial) -> None:
    with trial.place() as (site, _):
        pictures(site, "runs", 3)
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
        site.kube.apply(quota | {"spec": {"hard": {f"count/{_CRD}": "5"}}})
        site.until(
            lambda: "hard" in site.kube("get", "quota", "few", "-o", "jsonpath={.status}"),
            "the quota holds",
        )
        template = {"spec": job_manifest("run", "runs", collection="runs")["spec"]}
        for number in range(20):
            spec = {"schedule": "* * * * *", "jobTemplate": template}
            site.kube.apply(resource("FileProcessingSchedule", f"minute-{number:02}", spec))
        path = f"/apis/fpj.dev/v1alpha1/namespaces/{site.namespace}"
        trial.wait(
            lambda: len(trial.bed.api.items(f"{path}/fileprocessingjobs")) == 5,
            "five runs are there",
            120,
        )
        time.sleep(5)
        schedules = trial.bed.api.items(f"{path}/fileprocessingschedules")
        runs = {
            owner["name"]
            for job in trial.bed.api.items(f"{path}/fileprocessingjobs")
            for owner in job["metadata"].get("ownerReferences", [])
        }
        reported = {
            each["metadata"]["name"]
            for each in schedules
            for condition in each["status"].get("conditions", [])
            if "exceeded quota" in condition.get("message", "")
        }
        silent = {each["metadata"]["name"] for each in schedules} - runs - reported
        trial.must(
            not silent,
            f"{len(runs)} schedules have a run, {len(reported)} say that the quota is exceeded",
        )


@experiment(
    "manager",
    "one with the role fpj-cache-manager alone wants to run code as another ServiceAccount",
)
def manager(trial: Trial) -> None:
    with trial.place() as (site, _):
        who = account(trial.bed.kube, site.namespace, "manager")
        grant(trial.bed.kube, "fpj-cache-manager", who, None, site.namespace)
        claimed = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
        wanted = {
            "a projected token": {"volumes": [{"name": "x", "projected": claimed["projected"]}]},
            "a folder of the node": {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]},
            "another account": {"serviceAccountName": "default"},
            "LD_PRELOAD": {"env": [{"name": "LD_PRELOAD", "value": "/x.so"}]},
            "FPJ_STORE": {"env": [{"name": "FPJ_STORE", "value": "mongodb://thief"}]},
        }
        user = f"--as=system:serviceaccount:{site.namespace}:manager"
        for what, template in wanted.items():
            manifest = job_manifest("thief", "none", workerTemplate=template)
            try:
                site.kube("apply", "--filename=-", user, stdin=json.dumps(manifest))
            except ClusterError as error:
                said = " ".join(str(error).split())
                trial.must(
                    "denied" in said or "forbidden" in said.lower(), f"{what}: {said[-160:]}"
                )
            else:
                trial.must(False, f"{what} was admitted")


OLD: dict[str, Path | None] = {"source": None, "image": None}


@experiment(
    "upgrade", "a release of an earlier version is upgraded under a running job", own_bed=True
)
def upgrade(trial: Trial) -> None:
    if not (OLD["source"] and OLD["image"]):
        trial.seen("needs --old-source and --old-image")
        return
    new = trial.bed.version
    trial.bed.helm("uninstall", "fpj", "--wait", seconds=120)
    for name in ("cachefolders", "fileprocessingjobs", "fileprocessingschedules"):
        with suppress(ClusterError):
            trial.bed.kube("delete", "crd", f"{name}.fpj.dev")
    trial.bed.to(Version("old", OLD["source"] / "charts" / "fpj"))
    # Another revision of the engine makes all images again.
    with trial.place(falls=True) as (site, journal):
        sizes = pictures(site, "upgraded", 120)
        template = {
            "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "500m", "memory": "512Mi"}}
        }
        sharding = {"parallelism": 2, "workersPerPod": 1, "shardSize": 12, "batchSize": 4}
        site.job(
            "upgraded", "upgraded", sharding=sharding, workerTemplate=template, **_LITTLE_TIERS
        )
        trial.wait(lambda: running(site, "upgraded"), "a pod of the earlier version runs", 90)
        trial.injected("helm upgrade to this version")
        trial.bed.to(new)
        status = site.wait_end("upgraded", seconds=300)
        site.check("upgraded", sizes, LITTLE)
        attempt, recoveries = status["attempt"]["number"], status.get("recoveryAttempts", 0)
        trial.must(True, f"exact; attempt {attempt}, recoveries {recoveries}")
        reported = [
            (each.phase, *each.condition("Progressing")[:2]) for each in journal.of("upgraded")
        ]
        trial.seen(", then ".join(" ".join(key) for key, _ in itertools.groupby(reported)))


_LITTLE_TIERS: dict[str, Any] = {
    "jobType": "Both",
    "cache": {"tiers": [{"name": "full", "maxWidth": 200, "maxHeight": 150}]},
    "thumbnail": {"width": 64, "height": 64},
}
