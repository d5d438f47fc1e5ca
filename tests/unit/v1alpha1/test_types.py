"""The resource's rules: what is refused, where, and what is allowed instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.v1alpha1.documents import (
    Document,
    fields,
    folder,
    full_folder,
    full_job,
    full_purge,
    has,
    job,
    problems,
    purge,
    put,
    spec_schema,
)

from fpj_core.manifest import parse_resource
from fpj_core.v1alpha1 import CacheFolder, CachePurge, FileProcessingJob
from fpj_core.v1alpha1.common import parse_quantity

BOUNDS = {
    "spec.cache.tiers[0].maxWidth": (16, 16384),
    "spec.cache.tiers[0].maxHeight": (16, 16384),
    "spec.cache.tiers[0].quality": (1, 100),
    "spec.thumbnail.width": (16, 4096),
    "spec.thumbnail.height": (16, 4096),
    "spec.thumbnail.quality": (1, 100),
    "spec.sharding.parallelism": (1, 1000),
    "spec.sharding.shardSize": (1, 100_000),
    "spec.sharding.batchSize": (1, 10_000),
    "spec.sharding.workersPerPod": (1, 64),
    "spec.sharding.backoffLimitPerShard": (0, 100),
    "spec.sharding.maxFailedShards": (0, 100_000),
    "spec.collection.vanishedGraceSeconds": (0, 31_536_000),
    "spec.limits.maxPixels": (1, 4_000_000_000),
    "spec.limits.imageTimeoutSeconds": (1, 3600),
    "spec.limits.fetchTimeoutSeconds": (1, 86_400),
    "spec.limits.maxAttemptsPerImage": (1, 10),
    "spec.recovery.staleAfterSeconds": (30, 86_400),
    "spec.recovery.maxAttempts": (0, 100),
    "spec.activeDeadlineSeconds": (1, 31_536_000),
    "spec.preRunningDeadlineSeconds": (0, 31_536_000),
    "spec.ttlSecondsAfterFinished": (0, 31_536_000),
    "spec.priority": (-1_000_000, 1_000_000),
}
FOLDER_BOUNDS = {
    "spec.priority": (-1_000_000, 1_000_000),
    "spec.policy.ttl": (60, 315_360_000),
    "spec.policy.highWatermark": (1, 100),
    "spec.policy.lowWatermark": (0, 99),
    "spec.policy.minimumAgeSeconds": (0, 315_360_000),
    "spec.policy.collections[0].weight": (0, 1_000_000),
    "spec.policy.tiers[0].weight": (0, 1_000_000),
}
PURGE_BOUNDS = {"spec.ttlSecondsAfterFinished": (0, 31_536_000)}
ENUMS = {
    "spec.jobType": ("Cache", "Thumbnail", "Both"),
    "spec.cache.tiers[0].format": ("jpeg", "webp", "avif", "png", "original"),
    "spec.cache.tiers[0].fit": ("Inside", "Cover", "Smart"),
    "spec.thumbnail.format": ("jpeg", "webp", "avif", "png", "original"),
    "spec.thumbnail.fit": ("Inside", "Cover", "Smart"),
    "spec.collection.vanished": ("Delete", "Keep"),
    "spec.skipCheck": ("RecordAndFile", "Record"),
    "spec.deletionPolicy": ("Retain", "Delete"),
}
NAMES = [
    "metadata.name",
    "spec.collection.id",
    "spec.collection.source.s3.bucket",
    "spec.collection.source.s3.credentialsSecretName",
    "spec.cache.tiers[0].name",
    "spec.cacheFolder",
    "spec.queueName",
    "spec.workerTemplate.imagePullSecrets[0].name",
    "spec.workerTemplate.priorityClassName",
    "spec.workerTemplate.serviceAccountName",
]


def only(document: Document) -> str:
    (problem,) = problems(document)
    return problem


def without_watermarks() -> Document:
    return put(put(full_folder(), "spec.policy.highWatermark", 100), "spec.policy.lowWatermark", 0)


def test_the_smallest_resources_are_accepted() -> None:
    assert problems(job()) == []
    assert problems(folder()) == []


# Numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "path", "low", "high"),
    [(full_job(), path, *bounds) for path, bounds in BOUNDS.items()]
    + [(without_watermarks(), path, *bounds) for path, bounds in FOLDER_BOUNDS.items()]
    + [(full_purge(), path, *bounds) for path, bounds in PURGE_BOUNDS.items()],
)
def test_numbers_are_bounded(document: Document, path: str, low: int, high: int) -> None:
    if path.endswith("lowWatermark"):
        high = 99
    if path.endswith("highWatermark"):
        document = put(document, "spec.policy.lowWatermark", 0)
    assert problems(put(document, path, low)) == []
    assert problems(put(document, path, high)) == []
    assert only(put(document, path, low - 1)) == f"{path}: {low - 1} is under the minimum {low}"
    assert only(put(document, path, high + 1)) == f"{path}: {high + 1} is over the maximum {high}"
    assert (
        only(put(document, path, str(low))) == f"{path}: must be a whole number, not text ({low})"
    )
    assert only(put(document, path, 50.5)) == f"{path}: must be a whole number, not a number (50.5)"
    assert (
        only(put(document, path, True))
        == f"{path}: must be a whole number, not true or false (true)"
    )


def test_every_number_has_its_bounds_here() -> None:
    def bounded(schema: Document) -> set[str]:
        return {path for path, field in fields(schema) if field.get("type") == "integer"}

    assert bounded(spec_schema(FileProcessingJob)) == set(BOUNDS)
    assert bounded(spec_schema(CacheFolder)) == set(FOLDER_BOUNDS)
    assert bounded(spec_schema(CachePurge)) == set(PURGE_BOUNDS)


# Words --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "values"), ENUMS.items())
def test_choices(path: str, values: tuple[str, ...]) -> None:
    document = full_job()
    if path == "spec.jobType":
        document = put(put(document, "spec.cache", ...), "spec.thumbnail", ...)
    assert all(problems(put(document, path, value)) == [] for value in values)
    problem = only(put(document, path, values[0].swapcase()))
    assert problem.startswith(f"{path}: {values[0].swapcase()} is not allowed; use '{values[0]}'")
    assert all(value in problem for value in values)
    assert problem.endswith(f"; did you mean {values[0]}?")
    assert "did you mean" not in only(put(document, path, "zzz"))
    assert only(put(document, path, 5)).startswith(f"{path}: 5 is not allowed; use")


def test_every_choice_is_here() -> None:
    assert {
        path for path, field in fields(spec_schema(FileProcessingJob)) if "enum" in field
    } == set(ENUMS)


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ("no-store", True),
        ("public, max-age=31536000, immutable", True),
        ("public,max-age=60,stale-while-revalidate=30", True),
        ('private="Set-Cookie", max-age=0', True),
        ("", False),
        ("public,", False),
        ("max-age=1\r\nX-Other: 1", False),
        ("max-age=ä", False),
        ("max-age = 5", False),
    ],
)
def test_cache_control(given: str, fits: bool) -> None:
    bucket = put(folder(cacheControl=given), "spec.storage", {"s3": {"bucket": "cache"}})
    assert (problems(bucket) == []) is fits
    if fits:
        assert only(folder(cacheControl=given)) == "spec: cacheControl is only for storage.s3"


def test_evictions() -> None:
    for value in ("Cost", "LRU", "Priority", "None"):
        assert problems(folder(policy={"eviction": value})) == []
    problem = only(folder(policy={"eviction": "lru"}))
    assert (
        problem
        == "spec.policy.eviction: lru is not allowed; use 'Cost', 'LRU', 'Priority' or 'None'; did"
        " you mean LRU?"
    )


def test_a_purge_is_of_images_or_of_all() -> None:
    one = "spec: exactly one of images and all: true must be given"
    assert problems(purge()) == problems(purge(all=False)) == []
    assert problems(purge(images=..., all=True)) == []
    assert only(purge(all=True)) == one
    assert only(purge(images=...)) == only(purge(images=..., all=False)) == one


def test_a_purge_names_a_thousand_images_at_most() -> None:
    assert problems(purge(images=[f"{n}.jpg" for n in range(1_000)])) == []
    assert only(purge(images=[])) == "spec.images: needs at least 1, has 0"
    many = [f"{n}.jpg" for n in range(1_001)]
    assert only(purge(images=many)) == "spec.images: may have at most 1000, has 1001"
    assert only(purge(images=[""])) == "spec.images[0]: must have at least 1 character"


@pytest.mark.parametrize(
    "url", ["ftp://cdn.example.com", "//cdn.example.com", "https://", "https://a b", "https://a\nb"]
)
@pytest.mark.parametrize("name", ["url", "baseUrl"])
def test_a_webhook_has_urls(name: str, url: str) -> None:
    path = f"spec.purgeWebhook.{name}"
    assert only(put(full_folder(), path, url)).startswith(f"{path}: ")
    assert problems(put(full_folder(), path, "http://cdn.example.com/x?y=z")) == []


@pytest.mark.parametrize("key", ["token", "url", "my-fpj-webhook", "FPJ-WEBHOOK", "fpj-webhook/x"])
def test_only_a_secret_that_was_made_for_a_webhook_is_sent(key: str) -> None:
    path = "spec.purgeWebhook.secretRef.key"
    assert only(put(full_folder(), path, key)).startswith(f"{path}: ")
    assert problems(put(full_folder(), path, "fpj-webhook")) == []


def test_a_webhook_needs_no_secret() -> None:
    assert problems(put(full_folder(), "spec.purgeWebhook.secretRef", ...)) == []
    for name in ("url", "baseUrl"):
        path = f"spec.purgeWebhook.{name}"
        assert only(put(full_folder(), path, ...)) == f"{path}: is required"


@pytest.mark.parametrize("path", NAMES)
@pytest.mark.parametrize(
    "name", ["Upper", "under_score", "-dash", "dash-", "a b", "ä", "a/b", "../up", "a\n", ""]
)
def test_names(path: str, name: str) -> None:
    problem = only(put(full_job(), path, name))
    assert problem.startswith(f"{path}: ")
    assert "does not match ^[a-z0-9]" in problem or "must have at least" in problem


@pytest.mark.parametrize(
    ("path", "length"),
    [
        (path, 63 if path.endswith(("queueName", "tiers[0].name", "bucket")) else 253)
        for path in NAMES
    ]
    + [
        ("spec.collection.source.s3.prefix", 1024),
        ("spec.collection.source.s3.region", 64),
        ("spec.workerTemplate.env[0].name", 256),
        ("spec.workerTemplate.env[0].value", 4096),
        ("spec.workerTemplate.nodeSelector.zone", 1024),
        ("spec.workerTemplate.labels.team", 1024),
        ("spec.workerTemplate.annotations.note", 1024),
        ("spec.workerTemplate.resources.requests.cpu", 32),
    ],
)
def test_texts_end_somewhere(path: str, length: int) -> None:
    assert problems(put(full_job(), path, "a" * length)) == []
    assert (
        only(put(full_job(), path, "a" * (length + 1)))
        == f"{path}: must have at most {length} characters"
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.collection.source.s3.endpoint", "ftp://example.com"),
        ("spec.collection.source.s3.endpoint", "https://"),
        ("spec.cache.tiers[0].background", "white"),
        ("spec.cache.tiers[0].background", "#FFFFFF"),
        ("spec.workerTemplate.env[0].name", "1ST"),
        ("spec.maxFailedImages", "101%"),
        ("spec.maxFailedImages", "5 %"),
        ("spec.maxFailedImages", "-1%"),
        ("spec.maxFailedImages", "5"),
    ],
)
def test_patterns(path: str, value: str) -> None:
    assert only(put(full_job(), path, value)).startswith(f"{path}: {value} does not match ^")


def test_a_bucket_has_three_letters() -> None:
    path = "spec.collection.source.s3.bucket"
    assert only(put(full_job(), path, "ab")) == f"{path}: must have at least 3 characters"


# Lists and maps -----------------------------------------------------------------------------------


def test_one_to_four_tiers() -> None:
    tiers = [{"name": f"t{number}"} for number in range(5)]
    for count in (1, 4):
        assert problems(job(cache={"tiers": tiers[:count]})) == []
    assert only(job(cache={"tiers": []})) == "spec.cache.tiers: needs at least 1, has 0"
    assert only(job(cache={"tiers": tiers})) == "spec.cache.tiers: may have at most 4, has 5"
    assert only(job(cache={})) == "spec.cache.tiers: is required"


@pytest.mark.parametrize(
    ("path", "most", "item"),
    [
        ("spec.workerTemplate.tolerations", 32, {"key": "a"}),
        ("spec.workerTemplate.imagePullSecrets", 16, {"name": "s{}"}),
        ("spec.workerTemplate.env", 64, {"name": "E{}"}),
        ("spec.workerTemplate.volumes", 16, {"name": "v"}),
        ("spec.workerTemplate.volumeMounts", 16, {"name": "v"}),
    ],
)
def test_lists_end_somewhere(path: str, most: int, item: Document) -> None:
    items = [
        {name: text.format(number) for name, text in item.items()} for number in range(most + 1)
    ]
    assert problems(put(full_job(), path, items[:most])) == []
    assert only(put(full_job(), path, items)) == f"{path}: may have at most {most}, has {most + 1}"


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("nodeSelector", 32),
        ("labels", 32),
        ("annotations", 32),
        ("resources.requests", 16),
        ("resources.limits", 16),
    ],
)
def test_maps_end_somewhere(path: str, most: int) -> None:
    path = f"spec.workerTemplate.{path}"
    entries = {f"k{number}": "1" for number in range(most + 1)}
    assert (
        only(put(full_job(), path, entries)) == f"{path}: may have at most {most}, has {most + 1}"
    )
    del entries["k0"]
    assert problems(put(full_job(), path, entries)) == []


@pytest.mark.parametrize(
    ("path", "item"),
    [
        ("spec.cache.tiers", {"name": "a", "quality": 1}),
        ("spec.workerTemplate.env", {"name": "a"}),
        ("spec.workerTemplate.imagePullSecrets", {"name": "a"}),
    ],
)
def test_names_in_keyed_lists_differ(path: str, item: Document) -> None:
    other = {"name": "b"}
    assert problems(put(full_job(), path, [item, other])) == []
    assert (
        only(put(full_job(), path, [item, other, {"name": "a"}]))
        == f"{path}: the name 'a' is given twice"
    )


def test_thumbnail_is_no_name_for_a_cache_tier() -> None:
    problem = only(job(cache={"tiers": [{"name": "a"}, {"name": "thumbnail"}]}))
    assert problem == "spec.cache.tiers[1]: the name 'thumbnail' is reserved for the thumbnail tier"


# Rules that bind fields ---------------------------------------------------------------------------

PLACES = {
    "local": {"path": "/x"},
    "persistentVolumeClaim": {"claimName": "x"},
    "s3": {"bucket": "xyz"},
}


@pytest.mark.parametrize(
    ("document", "path"),
    [(job(), "spec.collection.source"), (folder(), "spec.storage")],
    ids=["job", "folder"],
)
def test_exactly_one_place(document: Document, path: str) -> None:
    wrong = f"{path}: exactly one of persistentVolumeClaim, s3 and local must be given"
    for name, place in PLACES.items():
        assert problems(put(document, path, {name: place})) == []
        rest = {other: PLACES[other] for other in PLACES if other != name}
        assert only(put(document, path, rest)) == wrong
    assert only(put(document, path, {})) == wrong
    assert only(put(document, path, PLACES)) == wrong
    assert problems(put(document, path, {"local": PLACES["local"], "s3": None})) == [], (
        "null is left out"
    )


@pytest.mark.parametrize("path", ["..", "a/..", "../a", "a/../b", "/.."])
def test_a_claims_path_stays_in_the_volume(path: str) -> None:
    source = {"persistentVolumeClaim": {"claimName": "x", "path": path}}
    problem = only(put(job(), "spec.collection.source", source))
    assert problem == "spec.collection.source.persistentVolumeClaim: path may not contain '..'"
    source["persistentVolumeClaim"]["path"] = "a..b/...c"
    assert problems(put(job(), "spec.collection.source", source)) == []


def test_what_the_job_type_leaves_out() -> None:
    cache, thumbnail = {"tiers": [{"name": "a"}]}, {"width": 100}
    assert problems(job(cache=cache, thumbnail=thumbnail)) == []
    assert problems(job(jobType="Cache", cache=cache)) == []
    assert problems(job(jobType="Thumbnail", thumbnail=thumbnail)) == []
    assert only(job(jobType="Thumbnail", cache=cache)).startswith(
        "spec: cache has no effect with jobType Thumbnail"
    )
    assert only(job(jobType="Cache", thumbnail={})).startswith(
        "spec: thumbnail has no effect with jobType Cache"
    )


def test_failed_images_are_a_count_or_a_share() -> None:
    for value in (0, 1, 10**9, "0%", "00%", "7%", "99%", "100%"):
        assert problems(job(maxFailedImages=value)) == []
    assert only(job(maxFailedImages=-1)) == "spec: maxFailedImages may not be negative"
    assert only(job(maxFailedImages=1.5)).startswith(
        "spec.maxFailedImages: must be a whole number or text, not"
    )


@pytest.mark.parametrize(
    ("low", "high", "accepted"),
    [
        (None, None, True),
        (90, None, False),
        (89, None, True),
        (None, 80, False),
        (None, 81, True),
        (50, 50, False),
    ],
)
def test_watermarks_are_ordered_with_their_defaults(
    low: int | None, high: int | None, accepted: bool
) -> None:
    policy = {
        name: value
        for name, value in (("lowWatermark", low), ("highWatermark", high))
        if value is not None
    }
    expected = [] if accepted else ["spec.policy: lowWatermark must be below highWatermark"]
    assert problems(folder(policy=policy)) == expected


# Quantities ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (1, 1),
        ("1", 1),
        ("007", 7),
        ("1k", 1000),
        ("1Ki", 1024),
        ("500Mi", 500 * 2**20),
        ("2M", 2 * 10**6),
        ("1.5G", 1_500_000_000),
        ("1.5Gi", 3 * 2**29),
        ("0.5Ki", 512),
        ("1T", 10**12),
        ("1Ti", 2**40),
        ("1P", 10**15),
        ("1Pi", 2**50),
        ("0.1", 1),
        ("1.0001", 2),
        ("9223372036854775807", 2**63 - 1),
        ("99999999999999999999P", 2**63 - 1),
        (2**70, 2**63 - 1),
    ],
)
def test_quantities(text: int | str, number: int) -> None:
    assert parse_quantity(text) == number
    assert problems(job(limits={"maxFileSize": text})) == []
    assert problems(folder(maxBytes=text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0.0Ki",
        "00",
        "-1",
        "+1",
        "1 Mi",
        "1m",
        "1e3",
        "1E",
        "1KB",
        "1ki",
        "1MiB",
        ".5",
        "5.",
        "1.2.3",
        "\u0661",
    ]
    + ["0x10", "1Mi\n", "Mi"],
)
def test_what_is_no_quantity(text: str) -> None:
    wrong = "is not a quantity of bytes above 0, such as 500Mi, 2G or 1048576"
    shown = text.replace("\n", "\\n") or "''"
    assert only(job(limits={"maxFileSize": text})) == f"spec.limits.maxFileSize: {shown} {wrong}"


@pytest.mark.parametrize("number", [0, -1])
def test_a_quantity_is_more_than_nothing(number: int) -> None:
    assert only(folder(maxBytes=number)) == f"spec.maxBytes: {number} must be more than 0 bytes"


@pytest.mark.parametrize("value", [1.5, True, [], {}, {"a": 5}])
def test_a_quantity_is_a_number_or_text(value: Any) -> None:
    assert only(job(limits={"maxFileSize": value})).startswith(
        "spec.limits.maxFileSize: must be a whole number or text, not "
    )


@settings(deadline=None)
@given(
    st.integers(1, 10**6),
    st.integers(0, 999),
    st.sampled_from(["", *"kMGTP", "Ki", "Mi", "Gi", "Ti", "Pi"]),
)
def test_quantities_scale(whole: int, thousandths: int, unit: str) -> None:
    factor = {"": 1}.get(unit) or (1024 if unit.endswith("i") else 1000) ** (
        "kMGTP".index(unit[0].replace("K", "k")) + 1
    )
    exact = (whole * 1000 + thousandths) * factor
    assert parse_quantity(f"{whole}.{thousandths:03}{unit}") == min(-(-exact // 1000), 2**63 - 1)


# Whatever the field -------------------------------------------------------------------------------

WRONG = {"object": "text", "array": "text", "string": 5, "integer": "text", "boolean": "yes"}


@pytest.mark.parametrize(
    ("document", "path", "field"),
    [
        pytest.param(document, path, field, id=f"{document['kind']}-{path}")
        for document, resource in (
            (full_job(), FileProcessingJob),
            (full_folder(), CacheFolder),
            (full_purge(), CachePurge),
        )
        for path, field in fields(spec_schema(resource))
        if has(document, path)
    ],
)
def test_every_field_is_refused_where_it_is_wrong(
    document: Document, path: str, field: Document
) -> None:
    """Of the wrong type, and misspelt: the path names it, the message what is allowed."""
    wrong = WRONG.get(field.get("type", ""), [])
    (problem,) = problems(put(document, path, wrong))
    assert problem.startswith(f"{path}: ")
    assert "must be" in problem or "is not allowed; use" in problem
    parent, _, name = path.rpartition(".")
    misspelt = name[:-1] + name[-1] * 2
    found = problems(put(document, f"{parent}.{misspelt}", wrong))
    assert any(
        line.startswith(f"{parent}.{misspelt}: unknown field; did you mean ") and line.endswith("?")
        for line in found
    )


@pytest.mark.parametrize(
    "path",
    ["spec.jobType", "spec.collection", "spec.collection.source", "spec.cache.tiers[0].name"],
)
def test_what_is_required(path: str) -> None:
    assert only(put(full_job(), path, ...)) == f"{path}: is required"
    assert f"{path}: " in problems(put(full_job(), path, None))[0], "null is not a value"


def test_missing_parts_of_the_whole() -> None:
    document = job()
    del document["spec"], document["metadata"]
    assert problems(document) == ["metadata: is required", "spec: is required"]
    assert problems(put(job(), "metadata", {})) == ["metadata.name: is required"]


@pytest.mark.parametrize("name", ["job_type", "jobtype", "JobType", "jobTyp"])
def test_a_typo_gets_a_hint(name: str) -> None:
    document = job(jobType=..., **{name: "Both"})
    assert f"spec.{name}: unknown field; did you mean jobType?" in problems(document)
    assert "spec.jobType: is required" in problems(document)


def test_a_field_unlike_any_gets_no_hint() -> None:
    assert only(job(qqqqq=1)) == "spec.qqqqq: unknown field"
    assert (
        only(put(full_job(), "spec.cache.tiers[1].qqqqq", 1))
        == "spec.cache.tiers[1].qqqqq: unknown field"
    )


def test_every_problem_is_named_at_once() -> None:
    document = job(jobType="cache", priority="high", sharding={"batchSize": 0, "x": 1}, nope=1)
    assert len(problems(document)) == 5


def test_free_forms_take_anything() -> None:
    anything = {"a": [1, 2.5, None, {"b": True}], "c": {}}
    template = {
        "affinity": anything,
        "tolerations": [anything],
        "volumes": [anything],
        "volumeMounts": [anything],
    }
    template["env"] = [{"name": "A", "valueFrom": anything}]
    assert problems(job(workerTemplate=template)) == []


def test_metadata_may_hold_what_the_api_server_puts_there() -> None:
    document = put(
        job(), "metadata", {"name": "it", "managedFields": [], "generation": 3, "uid": "u"}
    )
    assert problems(document) == []


def test_immutability_is_the_api_servers_to_check() -> None:
    """It alone knows the resource as it was; what is read here has no past."""
    rules = [
        rule["rule"]
        for rule in spec_schema(FileProcessingJob)["x-kubernetes-validations"]
        if "oldSelf" in rule["rule"]
    ]
    same = (
        "self.collection.source == oldSelf.collection.source && has(self.collection.id) =="
        " has(oldSelf.collection.id) && (!has(self.collection.id) || self.collection.id =="
        " oldSelf.collection.id)"
    )
    assert rules == [
        "self.jobType == oldSelf.jobType",
        same,
    ], "acceptVanished may be said of a job that has failed"
    folder_rules = spec_schema(CacheFolder)["x-kubernetes-validations"]
    rules = [rule["rule"] for rule in folder_rules if "oldSelf" in rule["rule"]]
    kept = (
        "(has(self.layout) ? self.layout : 'Hashed') == (has(oldSelf.layout) ? oldSelf.layout :"
        " 'Hashed')"
    )
    assert rules == ["self.storage == oldSelf.storage", kept]
    assert problems(job(jobType="Cache")) == problems(job(jobType="Thumbnail")) == []


def test_a_resource_once_read_does_not_change() -> None:
    resource = parse_resource(job())
    assert isinstance(resource, FileProcessingJob)
    with pytest.raises(ValueError, match="frozen"):
        resource.spec.priority = 5  # type: ignore[misc] # it is frozen
