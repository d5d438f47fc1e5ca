"""Images and derivatives."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
from contract.records import COLLECTION, JOB, batch, derivative, image, job, shard

from fpj_core.errors import FencedError
from fpj_core.kube.names import lease_name
from fpj_core.model import Counts, Derivative, Folder, ImageFacts, Layout
from fpj_core.store.protocol import Store

KEYS = [
    "plain.jpg",
    "ä ö/😀.png",
    "new\nline.jpg",
    "back\\\\slash\\xff.jpg",
    "a.zip!/b.png",
    "x" * 4096,
    "$dollar.a",
    "%_",
]


def record(
    store: Store, *derivatives: Derivative, facts: Mapping[int, ImageFacts] | None = None
) -> None:
    """Write derivatives in the only way there is: a shard's flush."""
    store.put_shards(JOB, 1, [shard(0, 0, 1_000_000)])
    claimed = store.claim_shard(JOB, 1, "w", 1.0)
    assert claimed
    empty = batch(claimed, 0, 0, counts=Counts())
    store.flush(replace(empty, derivatives=derivatives, facts=facts or {}), 1.0)


def names(*numbers: int) -> list[str]:
    return [f"{number:032x}" for number in numbers]


def test_a_name_is_its_first_images_for_ever(
    store: Store, open_another: Callable[[], Store]
) -> None:
    one, two, three = names(1, 2, 3)
    assert store.claim_names(COLLECTION, []) == {}
    assert store.claim_names(COLLECTION, [(one, "a"), (two, "b"), (one, "c")]) == {
        one: "a",
        two: "b",
    }
    assert open_another().claim_names(COLLECTION, [(three, "d"), (two, "e"), (one, "f")]) == {
        one: "a",
        two: "b",
        three: "d",
    }
    assert store.claim_names("other", [(one, "z")]) == {one: "z"}, "each collection has its own"
    many = names(*range(100, 1_100))
    assert (
        store.claim_names(COLLECTION, [(name, name[-4:]) for name in many])[many[-1]]
        == many[-1][-4:]
    )


def test_of_many_who_claim_at_once_one_owns_each_name(open_another: Callable[[], Store]) -> None:
    stores = [open_another() for _ in range(4)]
    wanted = names(*range(50))
    gate = Barrier(4)

    def claim(number: int) -> dict[str, str]:
        gate.wait()
        return stores[number].claim_names(COLLECTION, [(name, f"of {number}") for name in wanted])

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(claim, range(4)))
    assert all(answer == answers[0] for answer in answers)
    assert set(answers[0]) == set(wanted)


def test_images_come_back_as_they_were_written(store: Store) -> None:
    images = [image(n, key=key) for n, key in enumerate(KEYS)]
    store.upsert_images(images, 0)
    assert store.images_by_key(COLLECTION, [*KEYS, "unknown"]) == {i.key: i for i in images}
    assert store.images(COLLECTION, 0, 100) == images
    assert store.next_ordinal(COLLECTION) == len(KEYS)


def test_keys_by_ordinal(store: Store) -> None:
    store.upsert_images([image(n, key=key) for n, key in enumerate(KEYS)], 0)
    store.upsert_images([image(0, collection="other")], 0)
    store.mark_deleted(COLLECTION, [1], 0)
    assert store.image_keys(COLLECTION, range(1_000)) == dict(enumerate(KEYS))
    assert store.image_keys(COLLECTION, [1, 999_999]) == {1: KEYS[1]}, "of deleted ones, too"
    assert store.image_keys(COLLECTION, []) == store.image_keys("none", [1]) == {}


def test_images_below_a_folder(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[type(store).__module__], "_WINDOW", 2)
    names = [
        "a.zip!/1.jpg",
        "a.zip!/10.jpg",
        "a.zip!/\U0001f600.jpg",
        "a.zip!/ä/2.jpg",
        "a.zip!/gone.jpg",
    ]
    others = ["a.zip", "a.zip!", "a.zip!0", "a.zip/1.jpg", "b.zip!/1.jpg"]
    images = [image(n, key=key) for n, key in enumerate(names + others)]
    images[4] = replace(images[4], deleted=True)
    store.upsert_images([*images, image(0, collection="other", key="a.zip!/1.jpg")], 0)
    below = [found.key for found in store.images_below(COLLECTION, "a.zip!/")]
    assert below == sorted(names[:4], key=str.encode)
    assert list(store.images_below("none", "a/")) == []


def test_an_empty_collection(store: Store) -> None:
    assert store.next_ordinal("none") == 0
    assert list(store.live_ordinals("none")) == []
    assert list(store.pending_ordinals("none", {"full": "d1"})) == []
    assert list(store.derivative_files("none", ["full"])) == []
    assert store.count_images("none") == 0
    assert store.images_by_key("none", []) == {}
    store.upsert_images([], 0)
    store.mark_deleted("none", [], 0)
    store.delete_derivatives("none", [])


def test_upserting_replaces_and_collections_are_apart(store: Store) -> None:
    store.upsert_images([image(0), image(0, collection="other")], 0)
    store.upsert_images([image(0, version="v2")], 0)
    assert store.images(COLLECTION, 0, 1) == [image(0, version="v2")]
    assert store.images("other", 0, 1) == [image(0, collection="other")]


def test_deleted_images_are_known_but_not_live(store: Store) -> None:
    store.upsert_images([image(n) for n in range(10)], 0)
    store.mark_deleted(COLLECTION, [2, 9], 0)
    assert store.count_images(COLLECTION) == 8
    assert store.count_images(COLLECTION, 2, 5) == 2
    assert store.count_images(COLLECTION, 5) == 4
    assert list(store.live_ordinals(COLLECTION)) == [0, 1, 3, 4, 5, 6, 7, 8]
    assert [i.ordinal for i in store.images(COLLECTION, 0, 4)] == [0, 1, 3]
    assert store.images_by_key(COLLECTION, ["p2.jpg"])["p2.jpg"].deleted
    assert store.next_ordinal(COLLECTION) == 10, "ordinals are never given twice"


def test_streams_cross_their_windows(store: Store) -> None:
    count = 5_003
    for start in range(0, count, 1_000):
        store.upsert_images([image(n) for n in range(start, min(start + 1_000, count))], 0)
    assert list(store.live_ordinals(COLLECTION)) == list(range(count))
    assert list(store.pending_ordinals(COLLECTION, {"full": "d1"})) == list(range(count))
    record(store, *(derivative(n) for n in range(0, count, 7)))
    assert [ref[0] for ref in store.derivative_files(COLLECTION, ["full"])] == list(
        range(0, count, 7)
    )
    assert list(store.pending_ordinals(COLLECTION, {"full": "d1"})) == [
        n for n in range(count) if n % 7
    ]


def test_pending_means_any_tier_is_not_up_to_date(store: Store) -> None:
    store.upsert_images([image(n) for n in range(6)], 0)
    store.mark_deleted(COLLECTION, [5], 0)
    both = [derivative(0), derivative(0, "thumbnail", digest="d2")]
    old_settings = [derivative(1, digest="old"), derivative(1, "thumbnail", digest="d2")]
    old_source = [derivative(2, version="v0"), derivative(2, "thumbnail", digest="d2")]
    record(store, *both, *old_settings, *old_source, derivative(3), derivative(4, "other"))
    wanted = {"full": "d1", "thumbnail": "d2"}
    assert list(store.pending_ordinals(COLLECTION, wanted)) == [1, 2, 3, 4]
    assert list(store.pending_ordinals(COLLECTION, {"full": "d1"})) == [1, 2, 4]


@pytest.mark.parametrize("window", [2, 3, 7, 100])
@pytest.mark.parametrize("gone", [(), (0,), (4, 5, 6, 7, 8), (12,)])
@pytest.mark.parametrize("made", [(), (0, 1), (2, 5, 6, 11)])
def test_what_is_live_and_what_pending_is_read_at_once(
    store: Store,
    window: int,
    gone: tuple[int, ...],
    made: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("sqlite", "mongodb"):
        monkeypatch.setattr(f"fpj_core.store.{module}._WINDOW", window)
    ordinals = [*range(13), 40]
    store.upsert_images([image(n) for n in ordinals], 0)
    store.mark_deleted(COLLECTION, gone, 0)
    record(store, *(derivative(n) for n in made), derivative(3, digest="old"))
    windows = list(store.live_and_pending(COLLECTION, {"full": "d1"}))
    live = [n for n in ordinals if n not in gone]
    assert [n for some, _ in windows for n in some] == live
    assert [n for _, some in windows for n in some] == [n for n in live if n not in made]
    assert all(set(pending) <= set(some) for some, pending in windows)


def test_derivatives_by_range_and_tier(store: Store) -> None:
    record(store, derivative(3), derivative(1), derivative(1, "thumbnail"), derivative(9))
    assert store.derivatives(COLLECTION, 0, 9, ["full"]) == [derivative(1), derivative(3)]
    files = list(store.derivative_files(COLLECTION, ["thumbnail"]))
    assert files == [(1, "thumbnail", "cache", derivative(1, "thumbnail").path, 10)]


def test_forgetting_derivatives(store: Store) -> None:
    record(store, derivative(1), derivative(1, "thumbnail"), derivative(2))
    store.delete_derivatives(COLLECTION, [(1, "full"), (2, "full"), (7, "full")])
    assert [
        (d.ordinal, d.tier) for d in store.derivatives(COLLECTION, 0, 9, ["full", "thumbnail"])
    ] == [(1, "thumbnail")]


def test_facts_are_kept_with_the_image(store: Store) -> None:
    store.upsert_images([image(0), image(1)], 0)
    facts = ImageFacts(
        4000,
        3000,
        "jpeg",
        b"\x00\xff",
        "#102030",
        "12 bytes \udcff extraneous",
        "2024-05-01T12:30:00+02:00",
    )
    record(store, derivative(0), facts={0: facts})
    stored, untouched = store.images(COLLECTION, 0, 2)
    assert (stored.width, stored.height, stored.format) == (4000, 3000, "jpeg")
    assert (stored.thumbhash, stored.dominant_color) == (b"\x00\xff", "#102030")
    assert stored.warning == "12 bytes ? extraneous"
    assert stored.captured_at == "2024-05-01T12:30:00+02:00"
    assert untouched == image(1)


def test_what_a_job_made(store: Store) -> None:
    store.upsert_images([image(n) for n in range(4)], 0)
    record(
        store,
        derivative(0),
        derivative(0, "thumbnail", size=5),
        derivative(2),
        derivative(3, job="another"),
    )
    assert list(store.made_by(job())) == [(0, 15), (2, 10)]
    store.mark_deleted(COLLECTION, [2], 0)
    assert list(store.made_by(job())) == [(0, 15)]
    assert list(store.made_by(job("unknown"))) == []


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_what_a_job_made_is_streamed_window_by_window(
    store: Store, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sqlite", "mongodb"):
        monkeypatch.setattr(f"fpj_core.store.{module}._WINDOW", window)
    store.upsert_images([image(n) for n in range(7)], 0)
    made = [derivative(n, tier, size=n) for n in (0, 1, 2, 4, 6) for tier in ("full", "thumbnail")]
    record(store, *made, derivative(3, job="another"))
    streamed = store.made_by(job())
    assert next(streamed) == (0, 0)
    store.delete_derivatives(COLLECTION, [(6, "full")])
    assert list(streamed)[-1] in ((6, 6), (6, 12)), "nothing is locked while it is read"
    assert [ordinal for ordinal, _ in store.made_by(job())] == [0, 1, 2, 4, 6]


@pytest.mark.parametrize("window", [3, 5])
def test_streams_say_that_they_go_on_though_nothing_comes(
    store: Store, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sqlite", "mongodb"):
        monkeypatch.setattr(f"fpj_core.store.{module}._WINDOW", window)
    store.upsert_images([image(n) for n in range(14)], 0)
    record(store, *(derivative(n) for n in range(14)))
    steps: list[None] = []

    def steps_of(found: Iterator[object]) -> int:
        steps.clear()
        assert list(found) == []
        return len(steps)

    step = lambda: steps.append(None)  # noqa: E731 - one for all
    assert steps_of(store.pending_ordinals(COLLECTION, {"full": "d1"}, step)) >= 14 // window
    assert steps_of(store.made_by(job("another"), step)) >= 14 // window
    assert steps_of(store.derivative_files(COLLECTION, ["thumbnail"], step)) >= 14 // window


def test_statistics_equal_a_count_by_hand(store: Store) -> None:
    store.upsert_images([image(n) for n in range(5)] + [image(0, collection="other")], 0)
    store.mark_deleted(COLLECTION, [4], 0)
    store.upsert_folder(Folder("cache", "/cache", 3, 1000))
    record(store, derivative(0), derivative(1), derivative(0, "thumbnail", size=3))
    mine, other = store.statistics()
    assert (mine.collection, mine.images, mine.source_bytes) == (
        COLLECTION,
        4,
        100 + 101 + 102 + 103,
    )
    assert dict(mine.by_tier) == {"full": (2, 20), "thumbnail": (1, 3)}
    assert (other.collection, other.images, dict(other.by_tier)) == ("other", 1, {})
    assert store.statistics("other") == [other]
    assert store.refresh_folder("cache") == Folder("cache", "/cache", 3, 1000, 3, 23, 1)


def test_folders_keep_their_statistics_when_described_again(store: Store) -> None:
    store.upsert_folder(Folder("cache", "/cache"))
    record(store, derivative(0))
    store.refresh_folder("cache")
    store.upsert_folder(Folder("cache", "/moved", 7))
    mirror = Folder(
        "b",
        "s3://b",
        layout=Layout.MIRROR,
        mirrored=COLLECTION,
        reach='{"endpoint": "http://minio"}',
    )
    store.upsert_folder(mirror)
    assert store.folders() == [mirror, Folder("cache", "/moved", 7, None, 1, 10, 1)]


@pytest.mark.parametrize("ordinal", [2**31, 10_000_000])
def test_large_ordinals(store: Store, ordinal: int) -> None:
    store.upsert_images([image(ordinal)], 0)
    assert store.next_ordinal(COLLECTION) == ordinal + 1
    assert list(store.pending_ordinals(COLLECTION, {"full": "d1"})) == [ordinal]


def test_counting_many_images_can_be_stopped_on_the_way(store: Store) -> None:
    for start in (0, 25_000, 61_000):
        store.upsert_images([image(n) for n in range(start, start + 10)], 0)
    steps: list[None] = []
    assert store.count_images(COLLECTION, on_step=lambda: steps.append(None)) == 30
    assert len(steps) == 4

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.count_images(COLLECTION, on_step=stop)


def test_a_collection_remembers_its_source(store: Store, open_another: Callable[[], Store]) -> None:
    assert store.collection_source(COLLECTION) is None
    store.record_source(COLLECTION, "folder /a", 0)
    store.record_source("other", "folder /ä\n", 0)
    store.record_source(COLLECTION, "folder /b", 0)
    assert [open_another().collection_source(name) for name in (COLLECTION, "other")] == [
        "folder /b",
        "folder /ä\n",
    ]
    store.upsert_images([image(0)], 0)
    assert store.collection_source(COLLECTION) == "folder /b"


def test_who_lost_the_lock_records_no_source(store: Store) -> None:
    name = lease_name(COLLECTION)
    old = store.acquire_lease(name, "a", 1.0, 0.0)
    store.record_source(COLLECTION, "folder /a", old.fence)
    new = store.acquire_lease(name, "b", 1.0, 10.0)
    with pytest.raises(FencedError):
        store.record_source(COLLECTION, "folder /b", old.fence)
    store.record_source(COLLECTION, "folder /c", new.fence)
    assert store.collection_source(COLLECTION) == "folder /c"
