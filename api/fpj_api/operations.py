"""How far bulk operations are: sums over their jobs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fpj_api.bulkmodels import OperationImages, OperationJob, OperationProgress
from fpj_api.table import HeldJob
from fpj_core.kube.generation import MOST_COLLECTIONS, Part, summed


def progress_of(bulk: str, jobs: Sequence[HeldJob]) -> OperationProgress:
    """Of the jobs of an operation that somebody may see."""
    ordered = sorted(jobs, key=lambda job: (job.namespace, job.name))
    # What is kept of a job is as it is sent.
    shown = [json.loads(job.text) for job in ordered]
    found = summed(
        Part(job.phase, job.finished, said["progress"])
        for job, said in zip(ordered, shown, strict=True)
    )
    items = [
        OperationJob(
            namespace=job.namespace,
            name=job.name,
            collection=job.collection,
            phase=job.phase,
            finished=job.finished,
            deleting=job.deleting,
            percent=said["progress"]["percent"],
            failed=said["progress"]["failed"],
            reason=said["reason"],
        )
        for job, said in zip(ordered[:MOST_COLLECTIONS], shown, strict=False)
    ]
    return OperationProgress(
        id=bulk,
        size=max([len(ordered), *(job.bulk_size for job in ordered)]),
        jobs=found["jobs"],
        finished=found["finished"],
        phases=found["phases"],
        progress=OperationImages.model_validate(found["progress"]),
        items=items,
    )
