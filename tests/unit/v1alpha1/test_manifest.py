"""Manifests as files: what is read, and how each fault is reported.

Nothing but `ManifestError` may come out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.v1alpha1.documents import EXAMPLES, folder, full_job, has, job, put, spec_schema
from unit.v1alpha1.documents import fields as fields_of
from unit.v1alpha1.documents import problems as problems_in

from fpj_core.errors import ManifestError
from fpj_core.manifest import load_manifest_file, load_manifests, parse_resource, read_resource
from fpj_core.v1alpha1 import RESOURCES, CacheFolder, FileProcessingJob

HEAD = """\
apiVersion: fpj.dev/v1alpha1
kind: FileProcessingJob
metadata:
  name: it
"""
TEXT = f"""\
{HEAD}spec:
  jobType: Both
  collection:
    source:
      local:
        path: /photos
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ManifestError) as error:
        load_manifests(text, "it.yaml")
    assert error.value.origin == "it.yaml"
    assert str(error.value) == "\n".join(f"it.yaml: {problem}" for problem in error.value.problems)
    return error.value.problems


# What is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_come_back_as_they_were_written(path: Path) -> None:
    """Read without a problem, and no default is written into them."""
    documents = list(yaml.safe_load_all(path.read_text()))
    resources = load_manifest_file(path)
    assert [
        r.model_dump(mode="json", by_alias=True, exclude_none=True) for r in resources
    ] == documents


def test_there_are_examples_of_every_kind() -> None:
    kinds = {type(resource) for path in EXAMPLES for resource in load_manifest_file(path)}
    assert kinds == set(RESOURCES)


def test_the_full_example_has_every_field() -> None:
    missing = {
        path for path, _ in fields_of(spec_schema(FileProcessingJob)) if not has(full_job(), path)
    }
    absent = {
        path
        for path in missing
        if ".source." not in path and not path.startswith("spec.cache.tiers[0]")
    }
    assert absent == {"spec.workerTemplate.env[0].valueFrom"}, "the second variable has it"
    assert {path for path in missing if path.startswith("spec.cache.tiers[0]")} == {
        "spec.cache.tiers[0].background"
    }


def test_several_documents() -> None:
    text = f"---\n{TEXT}---\n# nothing\n---\n{json.dumps(folder())}\n---\n"
    first, second = load_manifests(text, "it.yaml")
    assert isinstance(first, FileProcessingJob)
    assert isinstance(second, CacheFolder)


def test_problems_of_several_documents_are_told_apart() -> None:
    text = f"{TEXT}  prioritty: 1\n---\n{TEXT}  priority: x\n---\n{TEXT}"
    assert problems(text) == [
        "document 1: spec.prioritty: unknown field; did you mean priority?",
        "document 2: spec.priority: must be a whole number, not text (x)",
    ]


def test_json_is_yaml() -> None:
    assert load_manifests(json.dumps(full_job()), "it.json") == [parse_resource(full_job())]


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "it.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.encode())
    assert len(load_manifest_file(path)) == 1


def test_dates_stay_text() -> None:
    (resource,) = load_manifests(f"{TEXT}  cacheFolder: 2026-01-01\n", "it.yaml")
    assert isinstance(resource, FileProcessingJob)
    assert resource.spec.cache_folder == "2026-01-01"


def test_anchors_and_merges_are_understood() -> None:
    text = (
        TEXT
        + """\
  cache:
    tiers:
      - &one {name: one, quality: 70, format: webp}
      - {<<: *one, name: two}
      - {<<: [{quality: 60}, *one], name: three}
"""
    )
    (resource,) = load_manifests(text, "it.yaml")
    assert isinstance(resource, FileProcessingJob)
    assert resource.spec.cache
    assert [(t.name, t.quality, t.format) for t in resource.spec.cache.tiers] == [
        ("one", 70, "webp"),
        ("two", 70, "webp"),
        ("three", 60, "webp"),
    ]


def test_a_merge_of_a_merge_repeats_no_key() -> None:
    text = (
        TEXT
        + """\
  workerTemplate:
    affinity: {deep: {below: &one {<<: {x: 1}, x: 2}}}
    tolerations: [{<<: *one}]
"""
    )
    (resource,) = load_manifests(text, "it.yaml")
    assert isinstance(resource, FileProcessingJob)
    assert resource.spec.worker_template
    assert resource.spec.worker_template.tolerations == [{"x": 2}]
    assert resource.spec.worker_template.affinity == {"deep": {"below": {"x": 2}}}


# What is not a manifest ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n\n", "# a comment", "---\n---\n", "null", "~"])
def test_nothing(text: str) -> None:
    assert problems(text) == ["holds no resource"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("5", "a number (5)"),
        ("text", "text (text)"),
        ("[1]", "a list ([1])"),
        ("true", "true or false (true)"),
    ],
)
def test_no_mapping(text: str, shown: str) -> None:
    assert problems(text) == [f"a resource is a mapping, not {shown}"]


def test_other_kinds() -> None:
    known = (
        "is not known; use FileProcessingJob or CacheFolder or FileProcessingSchedule or CachePurge"
    )
    assert problems("kind: Pod") == [f"kind: Pod {known}"]
    assert problems("kind: cachefolder") == [
        f"kind: cachefolder {known}; did you mean CacheFolder?"
    ]
    assert problems("metadata: {}") == [f"kind: nothing {known}"]
    assert problems("kind: [5]") == [f"kind: [5] {known}"]


def test_other_versions() -> None:
    for version in ("fpj.dev/v1", "v1", "[]"):
        wanted = [f"apiVersion: {version} is not known; use fpj.dev/v1alpha1"]
        assert problems(f"kind: CacheFolder\napiVersion: {version}") == wanted
    assert problems("kind: CacheFolder") == [
        "apiVersion: nothing is not known; use fpj.dev/v1alpha1"
    ]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none.yaml: cannot be read: No such file"):
        load_manifest_file(tmp_path / "none.yaml")
    with pytest.raises(ManifestError, match="cannot be read: Is a directory"):
        load_manifest_file(tmp_path)


@pytest.mark.parametrize("data", [b"\xff\xfek\0i\0n\0d\0", b"kind: \xe9", b"\x89PNG\r\n\x1a\n"])
def test_what_is_not_utf8(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "it.yaml"
    path.write_bytes(data)
    with pytest.raises(ManifestError, match=r"it.yaml: is not text in UTF-8$"):
        load_manifest_file(path)


def test_huge_files_are_refused_unread(tmp_path: Path) -> None:
    """Also where the limit falls: what is cut off must not go unnoticed,
    nor half a character be taken for bad.
    """
    path = tmp_path / "it.yaml"
    fill = "#".ljust(1_000_000 - len(TEXT))
    path.write_text(TEXT + fill)
    assert len(load_manifest_file(path)) == 1
    path.write_text(TEXT + fill + "\n")
    with pytest.raises(ManifestError, match="is larger than 1,000,000 bytes"):
        load_manifest_file(path)
    path.write_text(TEXT + "#" + "é" * 600_000)
    with pytest.raises(ManifestError, match="is larger than 1,000,000 bytes"):
        load_manifest_file(path)
    with path.open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(ManifestError, match="is larger"):
        load_manifest_file(path)
    assert problems("#" * 1_000_001) == ["is larger than 1,000,000 bytes"]


# YAML's own ways ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: the key 'a' is given twice"),
        ("a: {b: 1, 'b': 2}", "line 1, column 11: the key 'b' is given twice"),
        ("1: a\n'1': b", "line 2, column 1: the key '1' is given twice"),
        ("a: {1: b}", "line 1, column 4: the key 1 is not text: quote it"),
        ("on: b", "line 1, column 1: the key true is not text: quote it"),
        ("? [a]\n: b", "line 1, column 3: found unhashable key"),
        ("a: *b", "line 1, column 4: found undefined alias 'b'"),
        ("a: &a [*a]", "line 1, column 8: an alias stands inside what it stands for"),
        ("a: &a {b: {<<: *a}}", "line 1, column 16: an alias stands inside what it stands for"),
        ("a: [", "line 1, column 5: expected the node content, but found '<stream end>'"),
        ("\ta: b", "line 1, column 1: found character '\\t' that cannot start any token"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("a: \0", "not YAML: unacceptable character #x0000: special characters are not allowed"),
        (
            "a: 99999999999999999999",
            "line 1, column 4: 99999999999999999999 is not a 64-bit number",
        ),
        ("a: .nan", "line 1, column 4: .nan is not a 64-bit number"),
        ("a: [-.inf]", "line 1, column 5: -.inf is not a 64-bit number"),
        ("a: !!int x", "line 1, column 4: x is not a 64-bit number"),
        ("a: !!float ''", "line 1, column 4: '' is not a 64-bit number"),
        ("a: !!bool x", "a tag (!!…) stands before a value that is not of its kind"),
        ("a: !!timestamp x", "a tag (!!…) stands before a value that is not of its kind"),
        ("a: !!timestamp 2026-99-99", "a tag (!!…) stands before a value that is not of its kind"),
    ],
)
def test_faults_in_the_text(text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system [true]", "!!python/name:os.system", "!own x"]
)
def test_tags_build_nothing(tag: str) -> None:
    (problem,) = problems(f"a: {tag}")
    assert problem.startswith("line 1, column 4: could not determine a constructor for the tag")


def test_numbers_have_an_end() -> None:
    """Python refuses to write out an integer of over 4,300 digits, however it was read."""
    for text in ("9" * 5_000, "0x" + "f" * 5_000):
        (problem,) = problems(f"{TEXT}  priority: {text}")
        assert problem.startswith(f"line 11, column 13: {text[:57]}... is not a 64-bit number")


def test_aliases_may_not_multiply() -> None:
    """A billion laughs: nine lines that would come to 10^9 words."""
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (problem,) = problems("\n".join(lines))
    assert problem.endswith("aliases come to more than 4,000,000 characters")
    lines = ["a0: &a0 {lol: lol}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 9)]
    (problem,) = problems("\n".join(lines))
    assert problem.endswith("aliases come to more than 4,000,000 characters")


def test_aliases_may_not_nest_without_end() -> None:
    """Each line is shallow; what the last one stands for is not."""
    chain = "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 1_500))
    assert problems(f"{TEXT}a0: &a0 []\n{chain}") == ["is nested too deep"]
    assert problems(f"a0: &a0 []\n{chain}kind: *a1499") == ["is nested too deep"]
    assert problems("[" * 5_000) == ["is nested too deep"]
    assert problems("a:\n  " + "- " * 5_000) == ["is nested too deep"]


def test_aliases_that_come_to_little_are_welcome() -> None:
    volumes = ", ".join(["*v"] * 16)
    text = (
        f"{TEXT}  workerTemplate:\n    affinity: {{v: &v {{name: v}}}}\n    volumes: [{volumes}]\n"
    )
    assert len(load_manifests(text, "it.yaml")) == 1


def test_half_a_character_is_refused() -> None:
    (problem,) = problems(f'{TEXT}  cacheFolder: "\\ud800"\n')
    assert problem.startswith("cannot be read: ")


def test_long_values_are_cut_in_messages() -> None:
    (problem,) = problems(f"{TEXT}  skipCheck: {'x' * 1000}\n")
    assert problem.startswith(f"spec.skipCheck: {'x' * 57}... is not allowed")


def test_problems_are_safe_on_a_terminal() -> None:
    text = TEXT + '  skipCheck: "\\e[31m\\n"\n  "a\\nb": 1\n'
    assert [problem.split(" is not allowed")[0] for problem in problems(text)] == [
        "spec.skipCheck: \\x1b[31m\\n",
        "spec.a\\nb: unknown field",
    ]


def test_numbers_that_json_lacks_are_refused_in_plain_data_too() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ManifestError, match="cannot be read"):
            parse_resource(job(workerTemplate={"affinity": {"x": value}}))


# Whatever comes -----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "a",
        "b",
        ": ",
        "- ",
        "\n",
        "  ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "&a ",
        "*a",
        "<<",
        "!!int ",
        "!!set ",
        "!!binary ",
    ]
    + [
        "!!omap ",
        "!!bool ",
        "!!timestamp ",
        "!x ",
        "'",
        '"',
        "? ",
        "| ",
        "> ",
        "%YAML 1.1\n",
        "---\n",
        "...\n",
        "=",
        "1",
        "0x",
    ]
    + ["~", "1:2", ".nan", "\x85", "\ufeff", "\\ud800", "#"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_no_text_breaks_the_reader(text: str) -> None:
    for whole in (text, f"{HEAD}spec:\n  x: {text}\n"):
        found = []
        try:
            load_manifests(whole, "it.yaml")
        except ManifestError as error:
            found = error.problems
        assert all(problem.isprintable() for problem in found)


@settings(deadline=None)
@given(
    VALUES,
    st.sampled_from(
        [path for path, _ in fields_of(spec_schema(FileProcessingJob)) if has(full_job(), path)]
    ),
)
def test_no_value_breaks_the_parser(value: Any, path: str) -> None:
    assert all(problem.isprintable() for problem in problems_in(put(full_job(), path, value)))


def test_what_an_api_server_holds_may_have_fields_of_a_later_version() -> None:
    """Wherever they stand; and what this version knows is read as ever."""
    known = full_job()
    later = json.loads(json.dumps(known))
    later["spec"]["encryption"] = {"keys": [{"name": "a"}]}
    later["spec"]["cache"]["tiers"][0]["dpi"] = 300
    later["spec"]["sharding"]["locality"] = "Zone"
    later["spec"]["workerTemplate"]["env"][0]["later"] = True
    with pytest.raises(ManifestError, match="unknown field"):
        parse_resource(later)
    assert read_resource(later) == parse_resource(known)
    assert later["spec"]["encryption"], "the document itself is left alone"


def test_what_is_wrong_is_wrong_beside_fields_of_a_later_version() -> None:
    later = full_job()
    later["spec"]["later"] = 1
    later["spec"]["cache"]["tiers"][0]["format"] = "jxl"
    with pytest.raises(ManifestError, match=r"'jxl'|jxl is not allowed"):
        read_resource(later)
    with pytest.raises(ManifestError, match="exactly one of"):
        read_resource(put(full_job(), "spec.collection.source", {"tape": {"drive": 1}}))


@settings(deadline=None)
@given(
    VALUES,
    st.sampled_from(
        [path for path, _ in fields_of(spec_schema(FileProcessingJob)) if has(full_job(), path)]
    ),
)
def test_reading_breaks_on_no_value(value: Any, path: str) -> None:
    document = put(full_job(), path, value)
    try:
        found = read_resource(document)
    except ManifestError:
        return
    assert not problems_in(document) or isinstance(found, FileProcessingJob)
