"""A laptop and a cluster accept the same manifests:
`parse_resource` against the CRD's schema and rules.

The API server's part is played by jsonschema over the schema with unknown fields refused (as
kubectl asks for), by the CEL rules written out in Python, and by the uniqueness of lists keyed by a
field.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from unit.v1alpha1.documents import (
    Document,
    fields,
    folder,
    full_folder,
    full_job,
    full_purge,
    full_schedule,
    job,
    problems,
    purge,
    put,
    schedule,
    schema_of,
)

from fpj_core.v1alpha1 import (
    RESOURCES,
    CacheFolder,
    CachePurge,
    FileProcessingJob,
    FileProcessingSchedule,
    FileProcessingScheduleSpec,
    ResourceType,
)
from fpj_core.v1alpha1.schedule import SCHEDULE_PATTERN, TIME_ZONE_PATTERN

pytestmark = pytest.mark.slow

PLACES = ("persistentVolumeClaim", "s3", "local")
RULES: dict[str, Callable[[Document], bool]] = {
    "exactly one of persistentVolumeClaim, s3 and local must be given": lambda o: (
        sum(p in o for p in PLACES) == 1
    ),
    "path may not contain '..'": lambda o: ".." not in o.get("path", "").split("/"),
    "the name 'thumbnail' is reserved for the thumbnail tier": lambda o: o["name"] != "thumbnail",
    "cache has no effect with jobType Thumbnail: use Both, or leave it out": lambda o: (
        "cache" not in o or o["jobType"] != "Thumbnail"
    ),
    "thumbnail has no effect with jobType Cache: use Both, or leave it out": lambda o: (
        "thumbnail" not in o or o["jobType"] != "Cache"
    ),
    "maxFailedImages may not be negative": lambda o: (
        not isinstance(o.get("maxFailedImages"), int) or o["maxFailedImages"] >= 0
    ),
    "local works only with `fpj run`: use persistentVolumeClaim or s3": lambda o: (
        "local" not in o["collection"]["source"]
    ),
    next(rule.message for rule in FileProcessingSchedule.rules): lambda o: (
        len(o["metadata"]["name"]) <= 242
    ),
    **dict(
        zip(
            (rule.message for rule in FileProcessingScheduleSpec.rules),
            (
                lambda o: re.fullmatch(SCHEDULE_PATTERN, o["schedule"]) is not None,
                lambda o: (
                    o.get("timeZone") != "Local"
                    and bool(re.fullmatch(TIME_ZONE_PATTERN, o.get("timeZone", "Etc/UTC")))
                ),
            ),
            strict=True,
        )
    ),
    "exactly one of images and all: true must be given": lambda o: (
        ("images" in o) != bool(o.get("all"))
    ),
    "cacheControl is only for storage.s3": lambda o: (
        "cacheControl" not in o or "s3" in o["storage"]
    ),
    "lowWatermark must be below highWatermark": lambda o: (
        o.get("lowWatermark", 80) < o.get("highWatermark", 90)
    ),
}


def accepted(resource: ResourceType, document: Document) -> bool:
    """As the API server decides."""
    schema = schema_of(resource)
    document = without_nulls(document, schema)
    return validator(resource).is_valid(document) and all(
        RULES[message](value) for message, value in rules_at(document, schema)
    )


@cache
def validator(resource: ResourceType) -> Draft202012Validator:
    return Draft202012Validator(
        strict(copy.deepcopy(schema_of(resource)) | {"required": ["metadata", "spec"]})
    )


def strict(schema: Document) -> Document:
    """Unknown fields refused, ``$`` as in RE2 (only the very end), lists without repeated keys."""
    if "properties" in schema:
        schema["additionalProperties"] = False
        schema["properties"] = {name: strict(field) for name, field in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = strict(schema["items"])
    if "pattern" in schema:
        schema["pattern"] = schema["pattern"].removesuffix("$") + r"\Z"
    return schema


def without_nulls(value: Any, schema: Document) -> Any:
    """An optional field that is null is dropped before anything else."""
    if isinstance(value, dict) and "properties" in schema:
        kept = {
            name: item
            for name, item in value.items()
            if item is not None or name not in schema["properties"]
        }
        return {
            name: without_nulls(item, schema["properties"].get(name, {}))
            for name, item in kept.items()
        }
    if isinstance(value, list) and "items" in schema:
        return [without_nulls(item, schema["items"]) for item in value]
    return value


def rules_at(value: Any, schema: Document) -> Iterator[tuple[str, Any]]:
    """(message, object) of each rule that looks at the resource as it is.

    Only for what the schema accepts.
    """
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"]:
            yield rule["message"], value
    if "properties" in schema:
        for name, item in value.items():
            yield from rules_at(item, schema["properties"].get(name, {}))
    for item in value if "items" in schema else ():
        yield from rules_at(item, schema["items"])


def unique(value: Any, schema: Document) -> bool:
    for key in schema.get("x-kubernetes-list-map-keys", ()):
        keys = (
            [item.get(key) for item in value if isinstance(item, dict)]
            if isinstance(value, list)
            else []
        )
        if len(set(map(str, keys))) != len(keys):
            return False
    if isinstance(value, dict):
        return all(
            unique(item, schema.get("properties", {}).get(name, {})) for name, item in value.items()
        )
    return not isinstance(value, list) or all(
        unique(item, schema.get("items", {})) for item in value
    )


def check(resource: ResourceType, document: Document) -> None:
    expected = accepted(resource, document) and unique(document, schema_of(resource))
    assert (problems(document) == []) == expected, problems(document)


# Documents from the schema ------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["a", "b", "ab-c", "a.b", "thumbnail", "A", "", "-", "a" * 64, "a" * 254, "é", "a\n"]
)
TEXTS = NAMES | st.sampled_from(
    [
        "https://x",
        "#aabbcc",
        "5%",
        "100%",
        "500Mi",
        "0",
        "0.0",
        "0.1Gi",
        "1" * 33,
        "..",
        "a/../b",
        "x" * 5000,
    ]
)
SCALARS = (
    st.none() | st.booleans() | st.sampled_from([-1, 0, 1, 15, 16, 100, 101, 10**12, 0.5]) | TEXTS
)
ANY: st.SearchStrategy[Any] = (
    SCALARS | st.just([]) | st.just({}) | st.just([{}]) | st.just({"x": 1})
)


def values(schema: Document) -> st.SearchStrategy[Any]:
    """Mostly what the schema accepts, or nearly."""
    if schema.get("x-kubernetes-int-or-string"):
        return st.sampled_from([-1, 0, 1, 5, 2**40]) | TEXTS
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "integer":
            low, high = schema.get("minimum", 0), schema.get("maximum", 2**40)
            return st.sampled_from([low, low + 1, high, high - 1]) | st.sampled_from(
                [low - 1, high + 1]
            )
        case "string":
            return TEXTS
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(values(schema["items"]), max_size=3)
        case _:
            return objects(schema)


def objects(schema: Document) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        inner = schema.get("additionalProperties")
        return st.dictionaries(
            st.sampled_from("xyz"), values(inner) if inner else SCALARS, max_size=2
        )
    required = {name: values(schema["properties"][name]) for name in schema.get("required", ())}
    optional = {
        name: values(field) for name, field in schema["properties"].items() if name not in required
    }
    return st.fixed_dictionaries(required, optional=optional)


@st.composite
def nearly_valid(draw: st.DrawFn, whole: Document, resource: ResourceType) -> Document:
    """A resource with every field, of which a few are changed."""
    known = dict(fields(schema_of(resource)["properties"]["spec"]))
    document = whole
    for path in draw(st.lists(st.sampled_from(list(known)), min_size=1, max_size=3)):
        value = draw(st.one_of(values(known[path]), values(known[path]), ANY, st.just(...)))
        # An earlier change took its place away.
        with suppress(LookupError, TypeError, AttributeError):
            document = put(document, path, value)
    return document


@settings(max_examples=300, deadline=None)
@given(nearly_valid(full_job(), FileProcessingJob))
def test_both_decide_alike_about_jobs(document: Document) -> None:
    check(FileProcessingJob, document)


@settings(max_examples=150, deadline=None)
@given(nearly_valid(full_folder(), CacheFolder))
def test_both_decide_alike_about_folders(document: Document) -> None:
    check(CacheFolder, document)


@settings(max_examples=200, deadline=None)
@given(nearly_valid(full_schedule(), FileProcessingSchedule))
def test_both_decide_alike_about_schedules(document: Document) -> None:
    check(FileProcessingSchedule, document)


@settings(max_examples=200, deadline=None)
@given(nearly_valid(full_purge(), CachePurge))
def test_both_decide_alike_about_purges(document: Document) -> None:
    check(CachePurge, document)


@settings(max_examples=150, deadline=None)
@given(objects(schema_of(FileProcessingJob)["properties"]["spec"]["properties"]["collection"]))
def test_both_decide_alike_about_sources(collection: Document) -> None:
    check(FileProcessingJob, job(collection=collection))


@pytest.mark.parametrize(
    "null_at", ["cache", "thumbnail", "priority", "maxFailedImages", "limits", "jobType"]
)
def test_null_is_nothing(null_at: str) -> None:
    check(FileProcessingJob, job(**{null_at: None}))


def test_the_oracle_itself_can_refuse() -> None:
    assert accepted(FileProcessingJob, full_job())
    assert accepted(CacheFolder, full_folder())
    assert not accepted(FileProcessingJob, job(priorityy=1))
    assert not accepted(FileProcessingJob, job(jobType="Cache", thumbnail={}))
    assert not accepted(FileProcessingJob, put(job(), "spec.collection.source", {}))
    assert not accepted(FileProcessingJob, put(full_job(), "spec.cacheFolder", "a\n"))
    assert not accepted(CacheFolder, folder(policy={"lowWatermark": 95}))
    assert accepted(CachePurge, full_purge())
    assert not accepted(CachePurge, purge(all=True))
    assert accepted(CachePurge, purge(images=..., all=True))
    assert not accepted(CachePurge, purge(images=...))
    assert accepted(FileProcessingSchedule, full_schedule())
    assert not accepted(FileProcessingSchedule, schedule(schedule="61 * * * *"))
    assert not unique(
        put(full_job(), "spec.cache.tiers", [{"name": "a"}] * 2), schema_of(FileProcessingJob)
    )


def test_the_rules_here_are_the_schemas() -> None:
    found = set()
    for resource in RESOURCES:
        schema = schema_of(resource)
        for node in [
            schema,
            schema["properties"]["spec"],
            *(field for _, field in fields(schema["properties"]["spec"])),
        ]:
            for each in (node, node.get("items", {})):
                found |= {
                    rule["message"]
                    for rule in each.get("x-kubernetes-validations", ())
                    if "oldSelf" not in rule["rule"]
                }
    assert found == set(RULES)
