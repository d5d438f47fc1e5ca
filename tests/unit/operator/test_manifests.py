"""What of a job's manifest reaches the pods and the store: all that pods need, in any size,
and no secret.
"""

from __future__ import annotations

import json
from dataclasses import replace

from unit.operator.world import NAMESPACE, World

from fpj_core.kube.names import requester_of
from fpj_core.manifest import parse_resource
from fpj_core.v1alpha1 import CacheFolder, FileProcessingJob
from fpj_operator.jobs.children import index_job, manifest, shards_job
from fpj_operator.jobs.state import Attempt, Observed

_MAX_ARG_STRLEN = 131_072
"""Linux starts no process with a longer variable, its name included."""
_WIDE = "\N{PILE OF POO}"
"""A character that JSON in ASCII writes in twelve bytes."""


def observed(spec: dict[str, object]) -> Observed:
    world = World()
    world.add()
    seen = world.observe("photos")
    document = manifest(seen) | {"spec": manifest(seen)["spec"] | spec}
    job = parse_resource(document)
    assert isinstance(job, FileProcessingJob)
    return replace(seen, job=job)


def task_of(job: dict[str, object]) -> str:
    (container,) = job["spec"]["template"]["spec"]["containers"]  # type: ignore[index]
    (value,) = [each["value"] for each in container["env"] if each["name"] == "FPJ_TASK"]
    return str(value).replace("$$", "$")


def folder(path: str = "derived") -> CacheFolder:
    storage = {"persistentVolumeClaim": {"claimName": "c" * 253, "path": path}}
    metadata = {"name": "f" * 253, "namespace": NAMESPACE}
    parsed = parse_resource(
        {
            "apiVersion": "fpj.dev/v1alpha1",
            "kind": "CacheFolder",
            "metadata": metadata,
            "spec": {"storage": storage},
        }
    )
    assert isinstance(parsed, CacheFolder)
    return parsed


def test_pods_learn_in_whose_name_the_job_asks_for_its_tiers() -> None:
    """Of its labels and annotations nothing else: they may take more room than a variable has."""
    own = observed({})
    assert "annotations" not in manifest(replace(own, requester=own.key.name))["metadata"]
    copied = manifest(replace(own, requester="nightly"))["metadata"]
    assert requester_of(copied) == "nightly"
    assert copied.keys() == {"name", "namespace", "uid", "annotations"}


def test_the_worker_template_reaches_neither_the_store_nor_the_task() -> None:
    """It shapes the pod and is of no use in it; its variables may be secret,
    and may be larger than one variable.
    """
    secret = {"name": "TOKEN", "value": "hunter2" * 500}
    variables = [secret | {"name": f"TOKEN_{number}"} for number in range(40)]
    seen = observed({"workerTemplate": {"env": variables}})
    assert "hunter2" not in json.dumps(manifest(seen))
    attempt = Attempt(number=1, fence=1)
    settings = World().settings
    for job in (
        index_job(seen, folder(), attempt, settings),
        shards_job(seen, folder(), attempt, settings, 0, 10),
    ):
        assert "hunter2" not in task_of(job)
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert all(variable in container["env"] for variable in variables), (
            "the pod has it by itself"
        )


def test_the_longest_manifest_that_the_crd_allows_fits_into_a_variable() -> None:
    """Every text at its full length and in the characters that take most room."""
    tier = {
        "maxWidth": 16_000,
        "maxHeight": 16_000,
        "quality": 100,
        "format": "original",
        "background": "#ffffff",
    }
    seen = observed(
        {
            "collection": {
                "id": "i" * 253,
                "source": {
                    "persistentVolumeClaim": {"claimName": "c" * 253, "path": _WIDE * 4_096}
                },
            },
            "jobType": "Both",
            "cache": {"tiers": [tier | {"name": f"{number}" + "t" * 62} for number in range(4)]},
            "cacheFolder": "f" * 253,
            "queueName": "q" * 63,
        }
    )
    job = shards_job(
        seen,
        folder(_WIDE * 4_096),
        Attempt(number=1, fence=2**53),
        World().settings,
        999,
        1_000_000,
    )
    assert 90_000 < len(f"FPJ_TASK={task_of(job)}".encode()) < _MAX_ARG_STRLEN - 8_192
