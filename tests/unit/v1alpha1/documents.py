"""Manifests as plain data, and what is wrong with them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fpj_core.errors import ManifestError
from fpj_core.manifest import parse_resource
from fpj_core.v1alpha1 import ResourceType
from fpj_generate.crd import crd

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.yaml"))

Document = dict[str, Any]


def job(**spec: Any) -> Document:
    """The smallest job, with some of its spec given."""
    given = {"jobType": "Both", "collection": {"source": {"local": {"path": "/photos"}}}} | spec
    return _document(
        "FileProcessingJob", {name: value for name, value in given.items() if value is not ...}
    )


def folder(**spec: Any) -> Document:
    """The smallest cache folder, with some of its spec given."""
    return _document("CacheFolder", {"storage": {"local": {"path": "/cache"}}} | spec)


def full_job() -> Document:
    """Every field of a job's spec, but for the sources it may not have beside the one it has."""
    return copy.deepcopy(_example("full.yaml"))


def full_folder() -> Document:
    return copy.deepcopy(_example("cachefolder.yaml"))


def purge(**spec: Any) -> Document:
    """A small purge, with some of its spec given."""
    given = {"cacheFolder": "cache", "collection": "photos", "images": ["a.jpg"]} | spec
    return _document(
        "CachePurge", {name: value for name, value in given.items() if value is not ...}
    )


def full_purge() -> Document:
    return copy.deepcopy(_example("cachepurge.yaml"))


def full_schedule() -> Document:
    """Every field of a schedule's spec, but for its jobs' own."""
    return copy.deepcopy(_example("schedule.yaml"))


def schedule(**spec: Any) -> Document:
    """The smallest schedule, with some of its spec given."""
    source = {"persistentVolumeClaim": {"claimName": "photos"}}
    template = {"spec": {"jobType": "Both", "collection": {"source": source}}}
    return _document(
        "FileProcessingSchedule", {"schedule": "0 2 * * *", "jobTemplate": template} | spec
    )


def put(document: Document, path: str, value: Any) -> Document:
    """A copy with ``spec.cache.tiers[0].name`` or the like set to
    ``value``; ``...`` takes it out.
    """
    document = copy.deepcopy(document)
    *steps, last = [
        int(step) if step.isdecimal() else step for step in re.split(r"[.\[\]]+", path.rstrip("]"))
    ]
    here: Any = document
    for step in steps:
        here = here[step] if isinstance(step, int) else here.setdefault(step, {})
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return document


def problems(document: object) -> list[str]:
    """What `parse_resource` says against it; nothing if it is accepted."""
    try:
        parse_resource(document)
    except ManifestError as error:
        return error.problems
    return []


@cache
def schema_of(resource: ResourceType) -> Document:
    return dict(crd(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def spec_schema(resource: ResourceType) -> Document:
    return dict(schema_of(resource)["properties"]["spec"])


def fields(schema: Document, path: str = "spec") -> Iterator[tuple[str, Document]]:
    """Every field below an object's schema, with the path of its first occurrence in a manifest."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, field
        yield from fields(field, here)
        if "items" in field:
            yield from fields(field["items"], f"{here}[0]")


def has(document: Any, path: str) -> bool:
    for step in re.split(r"[.\[\]]+", path):
        try:
            document = document[int(step) if step.isdecimal() else step]
        except (KeyError, IndexError):
            return False
    return True


@cache
def _example(name: str) -> Document:
    """The first document of an example."""
    return dict(next(yaml.safe_load_all((ROOT / "docs" / "examples" / name).read_text())))


def _document(kind: str, spec: Document) -> Document:
    return {
        "apiVersion": "fpj.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "it"},
        "spec": spec,
    }
