"""What both stores share: jobs and counts as plain documents, clean text, batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any, TypeVar

from fpj_core.errors import FencedError, StoreError
from fpj_core.model import Counts, Job, Phase

T = TypeVar("T")

_WINDOW = 20_000
_MOST_ORDINALS = 10_000
_JOB_FIELDS = tuple(field.name for field in fields(Job))
_COUNTS_FIELDS = tuple(field.name for field in fields(Counts))


def job_to_document(job: Job) -> dict[str, Any]:
    """Every field of a job; enums as their values, counts as a mapping.

    Mappings are the job's own, not copies.
    """
    counts = {name: getattr(job.base, name) for name in _COUNTS_FIELDS}
    return {name: getattr(job, name) for name in _JOB_FIELDS} | {
        "phase": job.phase.value,
        "base": counts,
    }


def job_from_document(document: Mapping[str, Any]) -> Job:
    """The reverse of `job_to_document`; fields of later versions are ignored."""
    known = {name: document[name] for name in _JOB_FIELDS if name in document}
    return Job(**known | {"phase": Phase(known["phase"]), "base": Counts(**known["base"])})


def lock_lost(collection: str) -> FencedError:
    """What a writer gets that names an earlier fence of the collection's lease."""
    return FencedError(f"the lock of {collection} was taken over")


def files_recorded(collection: str) -> StoreError:
    """What whoever forgets a collection gets while files of it are recorded."""
    return StoreError(f"files of {collection} are recorded, and must be removed first")


def clean(text: str) -> str:
    """Text without lone surrogates, which neither store can hold."""
    return text.encode("utf-8", "replace").decode()


def after_prefix(prefix: str) -> str:
    """The first key above all that begin with ``prefix``, which ends in a slash."""
    return prefix[:-1] + chr(ord("/") + 1)


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to ``size`` items (itertools.batched needs Python 3.12)."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def spans(ordinals: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges that hold all ordinals, which ascend, each short enough for one query."""
    start: int | None = None
    last = 0
    for ordinal in ordinals:
        if start is not None and ordinal - start >= _MOST_ORDINALS:
            yield start, last + 1
            start = None
        start = ordinal if start is None else start
        last = ordinal
    if start is not None:
        yield start, last + 1


def windows(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Ranges of ordinals that cover ``[start, stop)``, each small enough for one query."""
    for first in range(start, stop, _WINDOW):
        yield first, min(first + _WINDOW, stop)
