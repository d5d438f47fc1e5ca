"""The generated CustomResourceDefinitions: what is committed, what API servers ask of a schema,
what kubectl shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from unit.v1alpha1.documents import ROOT, Document, fields, schema_of

from fpj_core.model import Counts, Job
from fpj_core.progress import measure
from fpj_core.v1alpha1 import (
    RESOURCES,
    CacheFolder,
    CachePurge,
    FileProcessingJob,
    FileProcessingSchedule,
    ResourceType,
)
from fpj_generate import crd, generated, reference
from fpj_generate import metrics as metrics_reference

CLIENT_SIDE_APPLY = 100_000
"""Bytes; an annotation may hold 262,144, and kubectl puts the whole resource into one."""

RULES = {
    "spec": [
        (
            "jobType is immutable: apply it under another name, or delete this job first; what it"
            " made stays, unless its deletionPolicy is Delete"
        ),
        (
            "collection is immutable: apply it under another name, or delete this job first; what"
            " it made stays, unless its deletionPolicy is Delete"
        ),
        "cache has no effect with jobType Thumbnail: use Both, or leave it out",
        "thumbnail has no effect with jobType Cache: use Both, or leave it out",
        "maxFailedImages may not be negative",
    ],
    "spec.collection.source": ["exactly one of persistentVolumeClaim, s3 and local must be given"],
    "spec.collection.source.persistentVolumeClaim": ["path may not contain '..'"],
    "spec.cache.tiers[]": ["the name 'thumbnail' is reserved for the thumbnail tier"],
}
FOLDER_RULES = {
    "spec": [
        "cacheControl is only for storage.s3",
        "storage is immutable: make a new CacheFolder instead",
        "layout is immutable: make a new CacheFolder instead",
    ],
    "spec.storage": ["exactly one of persistentVolumeClaim, s3 and local must be given"],
    "spec.storage.persistentVolumeClaim": ["path may not contain '..'"],
    "spec.policy": ["lowWatermark must be below highWatermark"],
}
PURGE_RULES = {
    "spec": [
        "exactly one of images and all: true must be given",
        "a purge is immutable: make a new CachePurge instead",
    ]
}
_OF_JOBS = {path: rules for path, rules in RULES.items() if path != "spec"}
SCHEDULE_RULES = {f"spec.jobTemplate.{path}": rules for path, rules in _OF_JOBS.items()} | {
    "": ["a schedule's name may have 242 characters at most: its jobs' names are longer"],
    "spec": [
        (
            "schedule must have five fields (minute, hour, day of month, month, day of week), such"
            " as '0 2 * * *', or be @hourly, @daily, @weekly, @monthly or @yearly; steps follow *"
            " or a range, time zones go into timeZone"
        ),
        "timeZone must be a name of the IANA database, such as Europe/Berlin; Local is none",
    ],
    "spec.jobTemplate.spec": [
        *(rule for rule in RULES["spec"] if "immutable" not in rule),
        "local works only with `fpj run`: use persistentVolumeClaim or s3",
    ],
}
ALLOWED = {
    "type",
    "description",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "anyOf",
} | {
    *(
        "format",
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
    ),
    *(
        "maxProperties",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-validations",
    ),
    "x-kubernetes-map-type",
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"),
}


def nodes(schema: Document, path: str = "") -> Iterator[tuple[str, Document]]:
    """Every schema within a schema."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}{{}}")


def definition(resource: ResourceType) -> Document:
    (version,) = crd.crd(resource)["spec"]["versions"]
    return dict(version)


# What is committed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("generators", "folder"), [((crd,), "crds"), ((reference, metrics_reference), "docs/reference")]
)
def test_what_is_committed_is_what_the_code_says(generators: tuple[Any, ...], folder: str) -> None:
    files = {name: text for generator in generators for name, text in generator.files().items()}
    assert generated.outdated(files, ROOT / folder) == []
    assert {path.name for path in (ROOT / folder).iterdir() if path.is_file()} == set(files), (
        "nothing is left of types that are gone"
    )


def test_a_difference_is_noticed_and_named(tmp_path: Path) -> None:
    files = {"a": "1", "b/c": "2"}
    assert generated.outdated(files, tmp_path) == [tmp_path / "a", tmp_path / "b/c"]
    assert list(tmp_path.iterdir()) == [], "checking writes nothing"
    generated.write(files, tmp_path)
    assert generated.outdated(files, tmp_path) == []
    assert generated.outdated(files | {"b/c": "3"}, tmp_path) == [tmp_path / "b/c"]


def test_each_is_small_enough_for_client_side_apply() -> None:
    assert all(len(text.encode()) < CLIENT_SIDE_APPLY for text in crd.files().values())


def test_the_text_says_what_the_schema_says() -> None:
    for resource, text in zip(RESOURCES, crd.files().values(), strict=True):
        assert yaml.safe_load(text) == crd.crd(resource)
        assert not re.search(r"[ :-]&\w", re.sub(r"description: .*", "", text)), "no anchors"


# What API servers ask of a schema -----------------------------------------------------------------


@pytest.mark.parametrize("resource", RESOURCES)
def test_the_schema_is_structural(resource: ResourceType) -> None:
    """https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions
    https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
    """
    for path, node in nodes(schema_of(resource)):
        assert set(node) - {"default"} <= ALLOWED, path
        assert "default" not in node or (path == "status" and resource.awaited), path
        if node.get("x-kubernetes-int-or-string"):
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
            assert "type" not in node, path
        else:
            assert "anyOf" not in node, path
            assert node["type"] in {
                "object",
                "array",
                "string",
                "integer",
                "number",
                "boolean",
            }, path
        assert not {"properties", "additionalProperties"} <= set(node), path
        assert set(node.get("required", [])) <= set(node.get("properties", {})), path
        if node.get("x-kubernetes-list-type") == "map":
            keys = node["x-kubernetes-list-map-keys"]
            assert set(keys) <= set(node["items"]["required"]), path
        if node.get("type") == "array":
            assert node["x-kubernetes-list-type"] in {"map", "atomic"}, path


@pytest.mark.parametrize("resource", RESOURCES)
def test_the_schema_is_a_schema(resource: ResourceType) -> None:
    Draft202012Validator.check_schema(schema_of(resource))
    for _, node in nodes(schema_of(resource)):
        re.compile(node.get("pattern", ""))
        for low, high in (
            ("minimum", "maximum"),
            ("minLength", "maxLength"),
            ("minItems", "maxItems"),
        ):
            assert node.get(low, 0) <= node.get(high, 2**63)
        if (
            node.get("type") == "integer"
            and max(abs(node.get("minimum", 0)), node.get("maximum", 0)) >= 2**31
        ):
            assert node["format"] == "int64"


@pytest.mark.parametrize("resource", RESOURCES)
def test_every_field_is_described_and_every_text_ends(resource: ResourceType) -> None:
    """What is bounded costs CEL rules a known amount, and status a known size."""
    for part in ("spec", "status"):
        schema = schema_of(resource)["properties"][part]
        for path, field in fields(schema, part):
            assert field["description"].endswith("."), path
        for path, node in nodes(schema, part):
            if node.get("type") == "string":
                assert "maxLength" in node or "enum" in node, path
            if node.get("x-kubernetes-int-or-string"):
                assert "maxLength" in node, path
            if node.get("type") == "array":
                assert "maxItems" in node, path
            if "additionalProperties" in node:
                assert "maxProperties" in node, path


@pytest.mark.parametrize("resource", RESOURCES)
def test_metadata_is_left_to_the_api_server(resource: ResourceType) -> None:
    schema = schema_of(resource)
    assert schema["properties"]["metadata"] == {"type": "object"}
    assert (
        schema["properties"]["kind"]["type"]
        == schema["properties"]["apiVersion"]["type"]
        == "string"
    )
    assert schema["required"] == ["spec"]


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (FileProcessingJob, RULES),
        (CacheFolder, FOLDER_RULES),
        (FileProcessingSchedule, SCHEDULE_RULES),
        (CachePurge, PURGE_RULES),
    ],
)
def test_every_rule_is_there_with_its_message(
    resource: ResourceType, expected: dict[str, list[str]]
) -> None:
    found = {
        path: [rule["message"] for rule in node["x-kubernetes-validations"]]
        for path, node in nodes(schema_of(resource))
        if "x-kubernetes-validations" in node
    }
    assert found == expected


@pytest.mark.parametrize("resource", RESOURCES)
def test_rules_speak_of_fields_that_exist(resource: ResourceType) -> None:
    for path, node in nodes(schema_of(resource)):
        for rule in node.get("x-kubernetes-validations", ()):
            named = re.findall(r"\b(?:self|oldSelf)\.(\w+)", rule["rule"])
            assert named and set(named) <= set(node["properties"]), path
            always = {"metadata", *node.get("required", [])}
            for name in set(re.findall(r"self\.(\w+)", rule["rule"])) - always:
                assert f"has(self.{name})" in rule["rule"], f"{path}: {name} may be left out"


# What kubectl shows -------------------------------------------------------------------------------


def test_names() -> None:
    job, folder, schedule, purge = (crd.crd(resource) for resource in RESOURCES)
    assert job["metadata"]["name"] == "fileprocessingjobs.fpj.dev"
    assert folder["metadata"]["name"] == "cachefolders.fpj.dev"
    assert job["spec"]["names"]["shortNames"] == ["fpj"]
    assert folder["spec"]["names"]["shortNames"] == ["cf"]
    assert schedule["metadata"]["name"] == "fileprocessingschedules.fpj.dev"
    assert schedule["spec"]["names"]["shortNames"] == ["fpjs"]
    assert purge["metadata"]["name"] == "cachepurges.fpj.dev"
    assert purge["spec"]["names"]["shortNames"] == ["fpjpurge"]
    for each in (job, folder, schedule, purge):
        assert each["spec"]["names"]["categories"] == ["fpj-all"]
        assert each["spec"]["scope"] == "Namespaced"
        assert each["spec"]["names"]["singular"] == each["spec"]["names"]["kind"].lower()
    for resource in RESOURCES:
        assert definition(resource)["subresources"] == {"status": {}}
        assert definition(resource)["name"] == "v1alpha1"
        assert definition(resource)["served"] and definition(resource)["storage"]


def test_columns() -> None:
    columns = definition(FileProcessingJob)["additionalPrinterColumns"]
    always = [column["name"] for column in columns if not column.get("priority")]
    wide = [column["name"] for column in columns if column.get("priority")]
    assert always == ["Type", "Phase", "Progress", "Done", "Failed", "Rate", "ETA", "Age"]
    assert wide == ["Skipped", "Shards", "Last-Progress"]
    folders = [column["name"] for column in definition(CacheFolder)["additionalPrinterColumns"]]
    assert folders == [
        *("Ready", "Layout", "Priority", "Used", "Quota", "Policy"),
        *("Files", "Bytes", "Collections", "Age"),
    ]


@pytest.mark.parametrize("resource", RESOURCES)
def test_columns_show_fields_of_their_type(resource: ResourceType) -> None:
    found = dict(nodes(schema_of(resource)))
    for column in definition(resource)["additionalPrinterColumns"]:
        path = re.sub(r"\[.*?\]", "[]", column["jsonPath"].removeprefix("."))
        if path == "metadata.creationTimestamp":
            assert column["type"] == "date"
        elif column["type"] == "date":
            assert found[path]["format"] == "date-time"
        elif found[path].get("x-kubernetes-int-or-string"):
            assert column["type"] == "string", "which shows a number, too"
        else:
            assert found[path]["type"] == column["type"], path


def test_progress_is_reported_in_the_schemas_words() -> None:
    schema = schema_of(FileProcessingJob)["properties"]["status"]["properties"]["progress"]
    job = Job("id", "name", "c", {}, "d", total=10, active_seconds=3.0)
    status = measure(
        job, Counts(completed=3, failed=1, bytes_written=5, processing_ms=1.5)
    ).as_status()
    assert list(status) == list(schema["properties"])
    Draft202012Validator(schema).validate(status)


# The reference ------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", RESOURCES)
def test_the_reference_names_every_field_and_every_link_leads_somewhere(
    resource: ResourceType,
) -> None:
    page = reference.files()[f"{resource.__name__.lower()}.md"]
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    anchors = [re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= set(anchors)
    for part in ("spec", "status"):
        for path, field in fields(schema_of(resource)["properties"][part], part):
            parent, _, name = path.replace("[0]", "[]").rpartition(".")
            section = page.split(f"\n## {parent}\n")[1].split("\n## ")[0]
            (row,) = re.findall(rf"^\| `{name}` \|.*$", section, re.MULTILINE)
            assert field["description"] in row
            assert len(re.findall(r"(?<!\\)\|", row)) == 6, "five cells"


def test_the_reference_tells_what_is_allowed() -> None:
    page = reference.files()["fileprocessingjob.md"]
    assert "| `jobType` | string | `Cache`, `Thumbnail`, `Both` | yes |" in page
    assert "| `maxWidth` | integer | 16 to 16,384 |  |" in page
    assert (
        "| `tiers` | [list of objects](#speccachetiers) | 1 to 4 items; unique by `name` | yes |"
        in page
    )
    assert (
        "- jobType is immutable: apply it under another name, or delete this job first; what it"
        " made stays, unless its deletionPolicy is Delete" in page
    )
    assert "| Last-Progress | `status.lastProgressAt` | with `-o wide` |" in page
