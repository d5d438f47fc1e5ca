"""S3-compatible storage, against a real server: as a source, as a cache folder,
and in a whole run.
"""

from __future__ import annotations

import base64
import json
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import obstore
import pytest
from e2e.conftest import Fpj, photo
from integration.conftest import KEY, SECRET, Objects, Proxy
from obstore import exceptions
from typing_extensions import override
from unit.sources.archives import JPEG, packed
from unit.sources.surroundings import open_files, small_disk

from fpj_core.errors import CacheFolderError, ErrorType, ImageError, SourceError
from fpj_core.folders.ownership import MARKER, FolderState, refuse_strange
from fpj_core.folders.s3 import S3FolderConfig
from fpj_core.ids import image_id
from fpj_core.model import Format, ImageLimits, SourceEntry, TierSpec
from fpj_core.objects import Bucket
from fpj_core.sources.base import IN_MEMORY, Forgetful, ListingProblem
from fpj_core.sources.filters import Filter
from fpj_core.sources.keys import key_from_path
from fpj_core.sources.s3 import S3Source, S3SourceConfig
from fpj_worker.tasks import ImageHandler, ImageTask, start_image_pool

LIMIT = 100 * 2**20
PATH = "photos/full/ab/ab0123456789abcdef0123456789abcd.jpg"


def listing(bucket: Bucket) -> tuple[list[str], dict[str, str]]:
    source = S3SourceConfig(bucket).build()
    keys = [entry.key for entry in source.list()]
    return keys, {problem.key: problem.error_type.value for problem in source.problems.first}


def content(source: S3Source, key: str, size: int, limit: int = LIMIT) -> bytes:
    with source.open(key, size, max_file_size=limit) as opened:
        assert (opened.path is None) != (opened.data is None)
        return (
            opened.data
            if opened.data is not None
            else Path(os.fsdecode(opened.path or b"")).read_bytes()
        )


def refusal(source: S3Source, key: str, size: int = 1, limit: int = LIMIT) -> ImageError:
    with pytest.raises(ImageError) as error:
        content(source, key, size, limit)
    return error.value


# Listing ------------------------------------------------------------------------------------------


def test_listing_over_pages_in_natural_order(objects: Objects) -> None:
    count = 1_203
    objects.fill(
        (f"p{number}.jpg" for number in random.Random(1).sample(range(count), count)), JPEG
    )
    keys, problems = listing(objects.bucket())
    assert problems == {}
    assert keys == [f"p{number}.jpg" for number in range(count)]


def test_odd_keys_are_listed_and_read(objects: Objects) -> None:
    names = [
        "a b.jpg",
        "ä/😀.jpg",
        "q?x=1&y.jpg",
        "h#.jpg",
        "p%20.jpg",
        "p%.jpg",
        "plus+.jpg",
        "wow!/x.jpg",
        "wow!",
    ]
    names += [
        "back\\slash.jpg",
        "{a}[b]|^`<>\"'*~.jpg",
        "e\u0301.jpg",
        " lead.jpg",
        "x" * 900 + ".jpg",
        "a.jpg/b.jpg",
    ]
    for name in names:
        objects.put(name, JPEG + name.encode())
    source = S3Source(objects.bucket())
    entries = list(source.list())
    assert source.problems.count == 0
    read = {content(source, entry.key, entry.size).removeprefix(JPEG).decode() for entry in entries}
    assert read == set(names)
    assert len({entry.key for entry in entries}) == len(names)


def test_only_below_the_prefix(objects: Objects) -> None:
    for name in ["in/1.jpg", "in/deep/2.jpg", "inner/3.jpg", "4.jpg"]:
        objects.put(name, JPEG + name.encode())
    source = S3Source(objects.bucket("in"))
    entries = list(source.list())
    assert [entry.key for entry in entries] == ["1.jpg", "deep/2.jpg"]
    assert content(source, "deep/2.jpg", entries[1].size) == JPEG + b"in/deep/2.jpg"
    assert listing(objects.bucket("nothing")) == ([], {})


def test_what_is_no_image_is_left_out(objects: Objects) -> None:
    for name in ["photos/", "README", "a/.hidden.jpg", "__MACOSX/1.jpg", "film.mp4", "empty"]:
        objects.put(
            name, b"" if name in ("photos/", "empty") else b"some text of no interest, rather long"
        )
    for name in ["scan", "photo.txt"]:
        objects.put(name, JPEG)
    objects.put("short", JPEG[:4])
    objects.put("text.jpg", b"I am text")
    objects.put("empty.jpg", b"")
    assert listing(objects.bucket()) == (
        ["empty.jpg", "photo.txt", "scan", "short", "text.jpg"],
        {},
    )


def test_filters_and_ignore_files_work_as_in_a_folder(objects: Objects) -> None:
    names = [
        "a.jpg",
        "a.png",
        "b.cr2",
        "old/c.jpg",
        "odd//d.jpg",
        "x/e.jpg",
        "x/y/e.jpg",
        "x/y/f.jpg",
    ]
    for name in [*names, "z/pages.zip"]:
        objects.put(
            f"in/{name}", packed({"1.jpg": JPEG, "2.png": JPEG}) if name.endswith("zip") else JPEG
        )
    objects.put("in/.fpjignore", b"old/\nx/e.jpg\n")
    objects.put("in/x/y/.fpjignore", b"e.jpg\n")
    source = S3SourceConfig(objects.bucket("in"), Filter(exclude=("*.png", "odd/"))).build()
    assert [entry.key for entry in source.list()] == ["a.jpg", "x/y/f.jpg", "z/pages.zip!/1.jpg"]
    assert source.problems.count == 0
    assert source.left_out.document() == {"excluded": 6, "raw": 1}
    assert source.leaves_out("old/more.jpg") and not source.leaves_out("x/f.jpg")
    objects.put("in/.fpjignore", b"!")
    with pytest.raises(SourceError, match=r"\.fpjignore: line 1"):
        list(source.list())


def test_a_version_changes_with_the_content(objects: Objects) -> None:
    versions = []
    for last in (b"1", b"2", b"1"):
        objects.put("a.jpg", JPEG + last)
        (entry,) = S3Source(objects.bucket()).list()
        assert entry.size == len(JPEG) + 1
        versions.append(entry.version)
    assert versions[0] == versions[2] != versions[1]
    assert '"' not in versions[0]


def test_a_key_that_cannot_be_asked_for_is_its_own_problem(objects: Objects) -> None:
    odd = ["dot/../x.jpg", "dot/./x.jpg", "a//b.zip"]
    good = [
        "/0.jpg",
        "0.jpg",
        "a//b.jpg",
        "a/b.jpg",
        "a/c.jpg",
        "dot/x.jpg",
        "tab\t.jpg",
        "tab.jpg",
        "z.jpg",
    ]
    for name in odd + good:
        objects.put(f"in/{name}", JPEG + name.encode())
    for bucket, prefix in ((objects.bucket("in"), ""), (objects.bucket(), "in/")):
        keys, problems = listing(bucket)
        assert sorted(keys) == sorted(key_from_path(prefix + name) for name in good)
        source = S3Source(bucket)
        for name in good:
            assert content(source, key_from_path(prefix + name), 9) == JPEG + name.encode()
        assert content(source, prefix + "a//b.jpg", IN_MEMORY + 1) == JPEG + b"a//b.jpg"
        assert problems == {prefix + name: "PathViolation" for name in odd}


def test_odd_keys_on_every_page(objects: Objects) -> None:
    count = 2_500
    objects.fill((f"p{number:04}.jpg" for number in range(count)), b"x")
    for number in (0, 999, 1_000, 2_499):
        objects.put(f"p{number:04}/.//x.jpg", JPEG)
    keys, problems = listing(objects.bucket())
    assert len(keys) == count and len(set(keys)) == count
    assert len(problems) == 4


def test_markers_of_folders_are_no_images(objects: Objects) -> None:
    for name in ("photos/", "album.jpg/", "book.zip/"):
        objects.put(name, b"")
    objects.put("text/", b"a marker with content")
    objects.put("album.jpg/1.jpg", JPEG)
    assert listing(objects.bucket()) == (["album.jpg/1.jpg"], {})


def test_a_listing_says_that_it_goes_on_before_it_finds_anything(objects: Objects) -> None:
    for number in range(1_001):
        objects.put(f"{number}.txt", b"")
    objects.put("book.zip", packed({"1.txt": b"no image"}))
    steps: list[None] = []
    assert list(S3Source(objects.bucket()).list(lambda: steps.append(None))) == []
    assert len(steps) >= 1_001 + 1 + 2 + 1, "per object, per page, and while an archive is fetched"


class Remembering(Forgetful):
    """What was listed and noted before."""

    def __init__(self) -> None:
        self.known: dict[str, SourceEntry] = {}
        self.below: list[SourceEntry | ListingProblem] = []

    @override
    def versions(self, keys: Sequence[str]) -> dict[str, str]:
        return {key: self.known[key].version for key in keys if key in self.known}

    @override
    def members(self, container: str) -> Iterator[SourceEntry | ListingProblem]:
        return iter([each for each in self.below if each.key.startswith(f"{container}!/")])

    @override
    def note(self, entry: SourceEntry) -> None:
        self.known[entry.key] = entry


def test_what_is_unchanged_is_not_opened_again(objects: Objects, proxy: Proxy) -> None:
    for number in range(3):
        objects.put(f"{number}.jpg", JPEG)
        objects.put(f"{number}.xmp", b"<x:xmpmeta and so on, for thirty bytes and more>")
        objects.put(f"{number}", JPEG)
    objects.put("a.zip", packed({"1.jpg": JPEG, "2.jpg": JPEG, "../3.jpg": JPEG}))
    objects.put("album.jpg/", b"")
    objects.put("empty.jpg", b"")
    source, memory = S3Source(objects.bucket(endpoint=proxy.url)), Remembering()

    def listed() -> list[SourceEntry]:
        proxy.requests.clear()
        found = list(source.list(memory=memory))
        memory.known |= {entry.key: entry for entry in found}
        memory.below = [*found, *source.problems.take()]
        return sorted(found, key=lambda each: each.key)

    first = listed()
    assert len(first) == 3 + 3 + 2 + 1
    assert len(proxy.requests) == 1 + 3 + 3 + 1 + 2
    excluding = S3Source(objects.bucket(), Filter(exclude=("a.zip/2.jpg",)))
    for _ in range(2):
        assert len(list(excluding.list(memory=memory))) == len(first) - 1
    listed()
    assert listed() == first, "other rules, other images"
    assert [request.split("?")[0] for request in proxy.requests] == [f"GET /{objects.name}"], (
        "the listing alone"
    )
    assert [problem.key for problem in source.problems.first] == ["a.zip!/../3.jpg"]
    objects.put("1.xmp", b"<x:xmpmeta that was changed>" * 3)
    objects.put("a.zip", packed({"1.jpg": JPEG}))
    assert len(listed()) == len(first) - 1
    assert len(proxy.requests) == 1 + 2, "what changed is opened"
    objects.put("2.xmp", JPEG)
    assert len(listed()) == len(first), "it is an image now"


# Reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 5, IN_MEMORY, IN_MEMORY + 1, 2 * IN_MEMORY + 12_345])
def test_small_and_large_objects(objects: Objects, size: int) -> None:
    data = random.Random(size).randbytes(size)
    objects.put("a.jpg", data)
    source = S3Source(objects.bucket())
    before = open_files()
    assert content(source, "a.jpg", size) == data
    assert open_files() <= before + 2, "at most the connection stays open"
    if size:
        assert refusal(source, "a.jpg", size, size - 1).error_type is ErrorType.TOO_LARGE
        assert refusal(source, "a.jpg", 0, size - 1).error_type is ErrorType.TOO_LARGE, (
            "whatever was listed"
        )


def test_an_object_that_vanishes_after_listing_is_not_found(objects: Objects) -> None:
    objects.put("a.jpg", JPEG)
    objects.put("b.zip", packed({"1.jpg": JPEG}))
    source = S3Source(objects.bucket())
    keys = [entry.key for entry in source.list()]
    objects.remove("a.jpg")
    objects.remove("b.zip")
    fresh = S3Source(objects.bucket())
    for key in keys:
        assert refusal(fresh, key).error_type is ErrorType.NOT_FOUND
    assert refusal(fresh, "a.jpg", IN_MEMORY + 1).error_type is ErrorType.NOT_FOUND
    assert refusal(fresh, "a//b.jpg").error_type is ErrorType.NOT_FOUND
    for key in ("a/../b.jpg", "../a.jpg", "a//./b.jpg", "nul\0.jpg"):
        assert refusal(fresh, key).error_type is ErrorType.PATH_VIOLATION


def test_a_look_at_a_bucket_and_a_probe_of_it(objects: Objects) -> None:
    source, folder = S3Source(objects.bucket()), S3FolderConfig(objects.bucket("cache")).build()
    with pytest.raises(SourceError, match="is empty"):
        source.look([])
    objects.put("a.jpg", JPEG)
    assert [each and each.error_type for each in source.look(["a.jpg", "b.jpg"])] == [
        None,
        ErrorType.NOT_FOUND,
    ]
    with pytest.raises(CacheFolderError, match="lost its marker"):
        folder.probe("photos")
    folder.mark(b"{}", ["photos"])
    folder.probe("photos")
    assert [entry.key for entry in source.list()] == ["a.jpg"]
    gone = replace(objects.bucket(), bucket="nowhere")
    with pytest.raises(SourceError, match="bucket does not exist"):
        S3Source(gone).look([])
    with pytest.raises(CacheFolderError, match="bucket does not exist"):
        S3FolderConfig(gone).build().probe("photos")


def test_a_full_disk_for_temporary_copies(
    objects: Objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.put("a.jpg", random.Random(1).randbytes(IN_MEMORY + 1))
    objects.put("b.zip", packed({"1.jpg": random.Random(1).randbytes(500_000)}))
    source = S3Source(objects.bucket())
    with small_disk(tmp_path / "small") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        assert refusal(source, "a.jpg", IN_MEMORY + 1).error_type is ErrorType.DISK_FULL
        assert len(content(source, "b.zip!/1.jpg", 500_000)) == 500_000, "archives need no disk"
        assert listing(objects.bucket()) == (["a.jpg", "b.zip!/1.jpg"], {})


def test_archives_in_a_bucket(objects: Objects) -> None:
    large = JPEG + random.Random(1).randbytes(IN_MEMORY)
    for number in range(4):
        objects.put(
            f"b{number}.cbz",
            packed({"p10.jpg": large, "p2.jpg": JPEG + b"%d" % number, "../x.jpg": JPEG}),
        )
    objects.put("broken.zip", b"PK\x03\x04 and no more")
    source = S3Source(objects.bucket())
    before = open_files()
    entries = list(source.list())
    assert [entry.key for entry in entries] == [
        f"b{n}.cbz!/{p}.jpg" for n in range(4) for p in ("p2", "p10")
    ]
    problems = {problem.key: problem.error_type for problem in source.problems.first}
    refused = {f"b{number}.cbz!/../x.jpg": ErrorType.PATH_VIOLATION for number in range(4)}
    assert problems == refused | {"broken.zip": ErrorType.CORRUPT_IMAGE}
    for entry in random.Random(2).sample(entries, len(entries)):
        expected = large if "p10" in entry.key else JPEG + entry.key[1:2].encode()
        assert content(source, entry.key, entry.size) == expected
    assert open_files() - before <= 8, "few archives are kept"


def test_archives_are_read_by_range(objects: Objects, proxy: Proxy) -> None:
    for number in range(3):
        objects.put(
            f"{number}.zip", packed({f"{page}.jpg": JPEG + bytes(1_000_000) for page in range(4)})
        )
    source = S3Source(objects.bucket(endpoint=proxy.url))
    entries = list(source.list())
    assert len(entries) == 12
    assert len(proxy.requests) == 1 + 3, "the listing, and the end of each archive"
    assert proxy.sent < 400_000, "of 12 MB"
    proxy.requests.clear()
    assert all(
        content(source, entry.key, entry.size) == JPEG + bytes(1_000_000) for entry in entries
    )
    assert len(proxy.requests) == 12


def test_an_archive_that_is_replaced_while_it_is_read_is_read_anew(objects: Objects) -> None:
    objects.put("b.zip", packed({"1.jpg": JPEG + bytes(200_000)}))
    source = S3Source(objects.bucket())
    (entry,) = source.list()
    for last in (b"a", b"b"):
        objects.put(
            "b.zip", packed({"0.jpg": JPEG + bytes(70_000), "1.jpg": JPEG + bytes(200_000) + last})
        )
        assert content(source, entry.key, entry.size) == JPEG + bytes(200_000) + last
    objects.put("b.zip", packed({"2.jpg": JPEG + bytes(200_000)}))
    assert refusal(source, entry.key).error_type is ErrorType.NOT_FOUND


def test_an_archive_that_was_replaced_is_listed_anew(objects: Objects) -> None:
    source = S3Source(objects.bucket())
    for name in ("1.jpg", "2.jpg"):
        objects.put("b.zip", packed({name: JPEG}))
        assert [entry.key for entry in source.list()] == [f"b.zip!/{name}"]


# Trouble ------------------------------------------------------------------------------------------


def test_a_missing_bucket(objects: Objects) -> None:
    bucket = objects.bucket("x", name="no-such-bucket")
    with pytest.raises(
        SourceError, match=r"^cannot list s3://no-such-bucket/x: the bucket does not exist$"
    ):
        listing(bucket)
    with pytest.raises(
        CacheFolderError,
        match=r"s3://no-such-bucket/x cannot be written: the bucket does not exist$",
    ):
        S3FolderConfig(bucket).build().check_writable()
    with pytest.raises(ImageError) as error:
        S3FolderConfig(bucket).build().write(PATH, b"data", token="t")
    assert error.value.error_type is ErrorType.WRITE_FAILED, "it is not the image that is missing"
    assert error.value.message == "the bucket does not exist"


def test_wrong_credentials(strict_s3_server: str) -> None:
    bucket = Bucket("bucket", "", strict_s3_server, None, "wrong", "wrong")
    with pytest.raises(
        SourceError, match=r"cannot list s3://bucket: the bucket is refused: check the credentials"
    ):
        listing(bucket)
    with pytest.raises(CacheFolderError, match="the bucket is refused: check the credentials"):
        S3FolderConfig(bucket).build().check_writable()
    error = refusal(S3Source(bucket), "a.jpg")
    assert error.error_type is ErrorType.ACCESS_DENIED
    folder = S3FolderConfig(bucket).build()
    attempts: tuple[Callable[[], object], ...] = (
        lambda: folder.write(PATH, b"", token="t"),
        lambda: folder.size(PATH),
        lambda: folder.remove(PATH),
    )
    for attempt in attempts:
        with pytest.raises(ImageError) as refused:
            attempt()
        assert refused.value.error_type is ErrorType.ACCESS_DENIED


def test_no_server_there(objects: Objects) -> None:
    bucket = objects.bucket(endpoint="http://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"cannot list s3://test-\w+: the bucket: "):
        listing(bucket)
    assert refusal(S3Source(bucket), "a.jpg").error_type is ErrorType.STORE_UNAVAILABLE


@pytest.mark.parametrize("faults", [[503, 503], [500, "cut"], ["cut"]])
def test_passing_trouble_is_sat_out(
    objects: Objects, proxy: Proxy, faults: list[int | str]
) -> None:
    data = random.Random(1).randbytes(IN_MEMORY + 1)
    objects.put("a.jpg", data)
    bucket = objects.bucket(endpoint=proxy.url)
    source = S3Source(bucket)
    assert content(source, "a.jpg", len(data)) == data
    proxy.faults = list(faults)
    proxy.requests.clear()
    assert content(source, "a.jpg", len(data)) == data
    assert content(source, "a.jpg", 1) == data
    assert len(proxy.requests) == len(faults) + 2
    proxy.faults = [fault for fault in faults if fault != "cut"]
    assert listing(bucket) == (["a.jpg"], {})
    proxy.faults = [fault for fault in faults if fault != "cut"]
    S3FolderConfig(bucket).build().write(PATH, b"data", token="t")
    assert objects.get(PATH) == b"data"
    assert proxy.faults == []


def test_lasting_trouble_ends_in_a_typed_error(objects: Objects, proxy: Proxy) -> None:
    proxy.faults = [503] * 100
    source = S3Source(objects.bucket(endpoint=proxy.url))
    error = refusal(source, "a.jpg")
    assert error.error_type is ErrorType.STORE_UNAVAILABLE
    assert error.error_type.transient
    assert 2 < len(proxy.requests) < 10
    proxy.faults.clear()


def test_a_refusal_is_not_tried_again(objects: Objects, proxy: Proxy) -> None:
    proxy.faults = [403]
    assert (
        refusal(S3Source(objects.bucket(endpoint=proxy.url)), "a.jpg").error_type
        is ErrorType.ACCESS_DENIED
    )
    assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("limits", "error_type"),
    [
        (ImageLimits(timeout_seconds=0.9), None),
        (ImageLimits(fetch_timeout_seconds=0.2), ErrorType.FETCH_TIMEOUT),
    ],
)
def test_waiting_for_a_bucket_is_not_decoding(
    objects: Objects, proxy: Proxy, limits: ImageLimits, error_type: ErrorType | None
) -> None:
    objects.put("a.zip", packed({"a.jpg": photo(1)}))
    bucket = objects.bucket(endpoint=proxy.url)
    tiers = (TierSpec("full", 100, 100, 80, Format.JPEG),)
    handler = ImageHandler(
        S3SourceConfig(bucket), S3FolderConfig(bucket), "photos", tiers, limits, "token"
    )
    proxy.pause = 0.5
    with start_image_pool(handler, 1) as pool:
        pool.submit(ImageTask(0, image_id("photos", "a.zip!/a.jpg"), "a.zip!/a.jpg", 1, ("full",)))
        (outcome,) = pool.poll(60)
    assert (outcome.error and outcome.error.error_type) == error_type


# As a cache folder --------------------------------------------------------------------------------


def test_a_cache_folder(objects: Objects) -> None:
    config = S3FolderConfig(objects.bucket("cache"))
    assert config.location == f"s3://{objects.name}/cache"
    folder = config.build()
    folder.check_writable()
    assert objects.keys() == [], "nothing is left of the check"
    assert folder.free_bytes() is None
    assert folder.size(PATH) is None
    for data in (b"data", random.Random(1).randbytes(12 * 2**20), b""):
        folder.write(PATH, data, token="t")
        assert folder.size(PATH) == len(data)
        assert objects.get(f"cache/{PATH}") == data
    assert objects.keys() == [f"cache/{PATH}"]
    folder.sweep(["photos"], "store")
    folder.remove(PATH)
    folder.remove(PATH)
    assert folder.size(PATH) is None
    assert objects.keys() == []


def test_a_cache_folder_is_marked_by_the_first_job_and_by_no_other(objects: Objects) -> None:
    one, other = (S3FolderConfig(objects.bucket("cache")).build() for _ in range(2))
    assert (one.look(), other.look()) == (FolderState(), FolderState())
    one.mark(b"one", "photos")
    other.mark(b"other", "photos")
    assert objects.keys() == [f"cache/{MARKER}"]
    assert one.look() == other.look() == FolderState(marker=b"one", empty=False)
    objects.put(f"cache/{MARKER}", b"")
    assert one.look().marker == b"", "put there by hand"
    other.mark(b"again", ["photos"])
    assert one.look().marker == b"again"
    objects.put(f"cache/{MARKER}", b"x" * 100_000)
    other.mark(b"other", ["photos"])
    assert len(objects.get(f"cache/{MARKER}")) == 100_000, "somebody else's"


def test_strange_objects_are_no_cache_folder(objects: Objects) -> None:
    for name in (
        "site/index.html",
        f"made/{PATH}",
        f"made/{PATH}".replace(".jpg", ".webp"),
        f"mixed/{PATH}",
        "mixed/a.txt",
    ):
        objects.put(name, b"data")

    def look(prefix: str) -> FolderState:
        return S3FolderConfig(objects.bucket(prefix)).build().look()

    assert look("site") == FolderState(empty=False)
    assert look("made") == FolderState(empty=False, ours=True), (
        "as versions before the marker left them"
    )
    assert look("mixed") == FolderState(empty=False)
    with pytest.raises(CacheFolderError, match="holds files that are not fpj's"):
        refuse_strange(look("site"), "s3://bucket/site", recorded=False, found=False)


@pytest.mark.parametrize("words", ["status code: 501 Not Implemented", "NotImplemented"])
def test_a_server_without_conditional_writes(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    put = obstore.put

    def unconditional(*arguments: Any, mode: str | None = None, **options: Any) -> Any:
        if mode == "create":
            raise exceptions.GenericError(f"Server returned non-2xx {words}")
        return put(*arguments, **options)

    monkeypatch.setattr(obstore, "put", unconditional)
    folder = S3FolderConfig(objects.bucket("cache")).build()
    folder.mark(b"one", "photos")
    folder.mark(b"other", "photos")
    assert folder.look().marker == b"one"


def test_a_cache_folder_below_a_source_is_no_part_of_it(objects: Objects) -> None:
    for name in (
        "1.jpg",
        "-/0.jpg",
        "cache/.fpj-folder",
        f"cache/{PATH}",
        "z/cache/photos/1.jpg",
        "cached/2.jpg",
    ):
        objects.put(f"in/{name}", JPEG)
    keys, problems = listing(objects.bucket("in"))
    assert sorted(keys) == ["-/0.jpg", "1.jpg", "cached/2.jpg", "z/cache/photos/1.jpg"]
    assert problems == {}
    with pytest.raises(SourceError, match="is a cache folder"):
        listing(objects.bucket("in/cache"))


def test_outputs_are_ready_to_be_served(objects: Objects) -> None:
    folder = S3FolderConfig(objects.bucket("cache")).build()
    for extension, kind in (("jpg", "jpeg"), ("webp", "webp"), ("avif", "avif"), ("png", "png")):
        folder.write(f"photos/full/ab/abcd.{extension}", b"data", token="t")
        head = objects.head(f"cache/photos/full/ab/abcd.{extension}")
        assert head["ContentType"] == f"image/{kind}"
        assert head["CacheControl"] == "public, max-age=86400"
    bucket = objects.bucket("cache")
    S3FolderConfig(bucket, "no-store").build().write("photos/full/ab/other.jpg", b"data", token="t")
    assert objects.head("cache/photos/full/ab/other.jpg")["CacheControl"] == "no-store"


def test_a_server_that_verifies_checksums_takes_every_output_and_no_damaged_one(
    objects: Objects, proxy: Proxy
) -> None:
    """As S3 does.

    What arrives is checked against the checksum that was sent, and so is what is stored.
    """
    folder = S3FolderConfig(objects.bucket("cache", endpoint=proxy.url)).build()
    proxy.verifying = True
    part = 5 * 2**20  # what is larger is uploaded in parts, each with a checksum of its own
    for path, size, parts in (
        ("photos/full/ab/small.jpg", 4, 1),
        ("photos/full/ab/large.jpg", part + 4, 2),
    ):
        proxy.checksums.clear()
        folder.write(path, random.Random(size).randbytes(size), token="t")
        stored = objects.get(f"cache/{path}")
        assert stored == random.Random(size).randbytes(size)
        pieces = [stored[start : start + part] for start in range(0, size, part)]
        assert sorted(map(base64.b64decode, proxy.checksums)) == sorted(
            sha256(piece).digest() for piece in pieces
        )
        assert len(proxy.checksums) == parts
        assert objects.head(f"cache/{path}")["ContentType"] == "image/jpeg"
    proxy.damages = 1
    with pytest.raises(ImageError) as refused:
        folder.write("photos/full/ab/damaged.jpg", b"data", token="t")
    assert (refused.value.error_type, proxy.damages) == (ErrorType.STORE_UNAVAILABLE, 0)
    assert refused.value.error_type.transient
    assert folder.size("photos/full/ab/damaged.jpg") is None, "no damaged file is kept"
    folder.write("photos/full/ab/damaged.jpg", b"data", token="t")
    assert objects.get("cache/photos/full/ab/damaged.jpg") == b"data"


def test_a_finished_folder_is_checked_by_listing_it(objects: Objects, proxy: Proxy) -> None:
    count = 2_100
    paths = [
        f"photos/{tier}/{number % 256:02x}/{number:08}.jpg"
        for tier in ("full", "small")
        for number in range(count)
    ]
    objects.fill((f"cache/{path}" for path in paths), b"data")
    objects.put("cache/photos/full/01//odd.jpg", b"data")
    folder = S3FolderConfig(objects.bucket("cache", endpoint=proxy.url)).build()
    expected = [(path, 4, (place, path.split("/")[1])) for place, path in enumerate(paths)]
    random.Random(1).shuffle(expected)
    proxy.requests.clear()
    assert list(folder.lacking(expected)) == []
    assert len(proxy.requests) <= 2 * 3 + 2, "a page per thousand, and the odd one's again"
    objects.remove(f"cache/{paths[5]}")
    objects.put(f"cache/{paths[count + 7]}", b"other")
    lacking = folder.lacking([*expected, ("photos/full/zz/none.jpg", 4, (9_999, "full"))])
    assert sorted(lacking) == [(5, "full"), (count + 7, "small"), (9_999, "full")]
    assert list(folder.lacking([])) == []


def test_secrets_are_not_shown(objects: Objects) -> None:
    assert SECRET not in repr(objects.bucket())
    assert KEY not in repr(objects.bucket())


# A whole run --------------------------------------------------------------------------------------


@pytest.fixture
def fpj(tmp_path: Path) -> Fpj:
    credentials = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    return Fpj(str(tmp_path / "fpj.db"), tmp_path / "out", credentials)


def manifest(path: Path, objects: Objects, **folder_spec: str) -> Path:
    """A job from one part of a bucket into another."""

    def resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": "fpj.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": kind.lower()},
            "spec": spec,
        }

    def place(prefix: str) -> dict[str, Any]:
        return {"s3": {"bucket": objects.name, "prefix": prefix, "endpoint": objects.endpoint}}

    folder = resource("CacheFolder", {"storage": place("cache")} | folder_spec)
    spec = {
        "jobType": "Both",
        "collection": {"id": "photos", "source": place("photos")},
        "cacheFolder": "cachefolder",
    }
    job = resource("FileProcessingJob", spec)
    path.write_text("\n---\n".join(json.dumps(document) for document in (folder, job)))
    return path


def test_a_run_from_bucket_to_bucket(fpj: Fpj, objects: Objects, tmp_path: Path) -> None:
    for number in range(6):
        objects.put(f"photos/{number}.jpg", photo(number))
    objects.put(
        "photos/book.cbz", packed({"1.png": photo(7, image_format="PNG"), "2.jpg": b"I am text"})
    )
    objects.put("photos/notes.txt", b"no image")
    job = manifest(tmp_path / "job.yaml", objects)
    finished = fpj("run", job, "--json")
    assert finished.code == 1, finished.stderr
    assert finished.counts == (7, 0, 1)
    assert {key: error for key, (error, _) in fpj.failures().items()} == {
        "book.cbz!/2.jpg": "UnsupportedFormat"
    }
    marker, *made = objects.keys("cache/")
    assert marker == "cache/.fpj-folder"
    assert len(made) == 14
    assert all(objects.get(key).startswith(b"\xff\xd8\xff") for key in made)
    assert not fpj.out.exists()

    objects.remove(made[0])
    objects.put("photos/0.jpg", photo(100))
    completed, skipped, failed = fpj("run", job, "--json").counts
    assert (completed + skipped, failed) == (7, 1)
    assert 1 <= completed <= 2, "the changed one, and the one of the missing file"
    assert objects.keys("cache/") == [marker, *made]


def test_a_bucket_mirrors_a_bucket(fpj: Fpj, objects: Objects, tmp_path: Path) -> None:
    names = [
        "a b+c&d='e',(1)!.jpg",
        "Ä/😀.jpg",
        "q?x#%20{1}.jpg",
        "a.jpg",
        "A.JPG",
        "a.png",
        "e\u0301.jpg",
    ]
    for number, name in enumerate(names):
        objects.put(f"photos/{name}", photo(number, 60, 40))
    job = manifest(tmp_path / "job.yaml", objects, layout="Mirror")
    finished = fpj("run", job, "--json")
    assert finished.counts == (7, 0, 0), finished.stderr
    rows = [json.loads(line) for line in fpj("export").stdout.splitlines()]
    paths = {row["source"]: row["tiers"]["full"]["path"] for row in rows}
    assert paths["a b+c&d='e',(1)!.jpg"] == "full/a b+c&d='e',(1)!.jpg"
    assert paths["e\u0301.jpg"] == "full/\u00e9.jpg"
    made = sorted(f"cache/{tier['path']}" for row in rows for tier in row["tiers"].values())
    assert [key for key in objects.keys("cache/") if not key.endswith(".fpj-folder")] == made
    assert len(set(made)) == 14
    assert fpj("run", job, "--json").counts == (0, 7, 0), "found by listing"


def test_a_resumed_job_finds_its_bucket_again(fpj: Fpj, objects: Objects, tmp_path: Path) -> None:
    """Its endpoint is in the manifest alone, which is gone by then."""
    objects.put("photos/0.jpg", photo(0))
    job = manifest(tmp_path / "job.yaml", objects)
    assert fpj("run", job, "--json", "--cache-control", "no-store").counts == (1, 0, 0)
    job.unlink()
    made = objects.keys("cache/photos/")
    assert {objects.head(key)["CacheControl"] for key in made} == {"no-store"}
    objects.remove(made[0])
    resumed = fpj("resume", "fileprocessingjob", "--json")
    assert resumed.code == 0, resumed.stderr
    assert objects.keys("cache/photos/") == made
    assert {objects.head(key)["CacheControl"] for key in made} == {"no-store"}
    wrong = fpj("run", tmp_path, "--out", tmp_path / "out", "--cache-control", "no-store")
    assert wrong.code == 2
    assert "--cache-control is only for a cache folder in a bucket" in wrong.stderr
    wrong = fpj("run", tmp_path, "--cache-control", "no store\r\nX: y")
    assert wrong.code == 2


def test_a_run_without_a_bucket(fpj: Fpj, objects: Objects, tmp_path: Path) -> None:
    job = manifest(tmp_path / "job.yaml", objects)
    job.write_text(job.read_text().replace(objects.name, "no-such-bucket"))
    finished = fpj("run", job)
    assert finished.code in (1, 2)
    assert "the bucket does not exist" in finished.stderr
    assert "Traceback" not in finished.stderr
