"""Jobs and counts as plain documents, the same in both stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from fpj_core.model import Counts, Job, Phase

_JOB_FIELDS = frozenset(field.name for field in fields(Job))


def job_to_document(job: Job) -> dict[str, Any]:
    """Every field of a job; enums as their values, counts as a mapping."""
    return asdict(job) | {"phase": job.phase.value}


def job_from_document(document: Mapping[str, Any]) -> Job:
    """The reverse of `job_to_document`; fields of later versions are passed over."""
    known = {name: value for name, value in document.items() if name in _JOB_FIELDS}
    return Job(**known | {"phase": Phase(known["phase"]), "base": Counts(**known["base"])})


def clean(text: str) -> str:
    """Text without lone surrogates, which neither store can hold."""
    return text.encode("utf-8", "replace").decode()
