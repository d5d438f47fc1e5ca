"""The index against a real store: what is added, changed, gone and left alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typing_extensions import override
from unit.worker.fakes import COLLECTION, ListSource, entries

from fpj_core.errors import ErrorType, FencedError, SourceError, SourceShrankError
from fpj_core.ids import image_id
from fpj_core.kube.names import lease_name
from fpj_core.model import ImageRecord, SourceEntry
from fpj_core.sources.base import FORGETFUL, ListingProblem, Memory, Noted, nothing
from fpj_core.sources.filters import Reason
from fpj_core.sources.local import LocalSource
from fpj_core.store.codec import batched
from fpj_core.store.protocol import Store
from fpj_worker import indexer
from fpj_worker.indexer import IndexResult, index_collection, listing_problem

DENIED = ErrorType.ACCESS_DENIED


def index(
    store: Store, *listed: SourceEntry, troubles: Sequence[tuple[str, ErrorType, str]] = ()
) -> IndexResult:
    return index_collection(store, ListSource(listed, *troubles), COLLECTION, fence=0)


def live(store: Store) -> dict[str, int]:
    """Key to ordinal."""
    return {image.key: image.ordinal for image in store.images(COLLECTION, 0, 10_000)}


def test_new_images_are_numbered_in_the_sources_order(store: Store) -> None:
    listed = entries(2) + [SourceEntry("z/ä.png", 7, "v9")]
    assert index(store, *listed) == IndexResult(listed=3, added=3)
    assert store.images(COLLECTION, 0, 9) == [
        ImageRecord(COLLECTION, n, image_id(COLLECTION, e.key), e.key, e.size, e.version)
        for n, e in enumerate(listed)
    ]


def test_one_that_lost_its_lease_while_it_listed_ends_by_its_fence(store: Store) -> None:
    """However many images the next holder has added meanwhile, of which it knows nothing."""
    name = lease_name(COLLECTION)
    fence = store.acquire_lease(name, "first", 60.0, 0.0).fence
    listed = entries(30)

    class Slow(ListSource):
        @override
        def list(
            self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
        ) -> Iterator[SourceEntry]:
            later = store.acquire_lease(name, "second", 60.0, 100.0).fence
            index_collection(store, ListSource(listed), COLLECTION, fence=later)
            yield from listed[20:]

    with pytest.raises(FencedError):
        index_collection(store, Slow(listed), COLLECTION, fence=fence)
    assert len(live(store)) == 30


def test_one_that_lost_its_lease_takes_nothing_for_gone(store: Store) -> None:
    """It has nothing to record but what it did not find."""
    name = lease_name(COLLECTION)
    fence = store.acquire_lease(name, "first", 60.0, 0.0).fence
    index_collection(store, ListSource(entries(3)), COLLECTION, fence=fence)
    later = store.acquire_lease(name, "second", 60.0, 100.0).fence
    with pytest.raises(FencedError):
        index_collection(store, ListSource(entries(2)), COLLECTION, fence=fence)
    assert len(live(store)) == 3
    index_collection(store, ListSource(entries(2)), COLLECTION, fence=later)
    assert len(live(store)) == 2, "whoever holds it does"


def test_an_empty_source(store: Store) -> None:
    assert index(store) == IndexResult()


def test_what_is_unchanged_is_not_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    index(store, *entries(5))
    before = store.images(COLLECTION, 0, 9)
    monkeypatch.setattr(store, "upsert_images", None)
    assert index(store, *entries(5)) == IndexResult(listed=5)
    assert store.images(COLLECTION, 0, 9) == before


def test_a_changed_image_keeps_its_number_and_forgets_its_facts(store: Store) -> None:
    index(store, *entries(3))
    (old,) = store.images(COLLECTION, 1, 2)
    store.upsert_images(
        [replace(old, width=4, height=3, format="jpeg", thumbhash=b"\1", warning="cut off")], 0
    )
    changed = SourceEntry(old.key, 9_999, "v2")
    assert index(store, entries(1)[0], changed, entries(1, 2)[0]) == IndexResult(
        listed=3, changed=1
    )
    assert store.images(COLLECTION, 1, 2) == [replace(old, size=9_999, version="v2")]


def test_what_vanished_is_marked_and_comes_back_under_its_number(store: Store) -> None:
    index(store, *entries(4))
    assert index(store, *entries(2)) == IndexResult(listed=2, deleted=2)
    assert live(store) == {"p0.jpg": 0, "p1.jpg": 1}
    assert index(store, *entries(2)) == IndexResult(listed=2), "it is marked once"
    assert index(store, *entries(2), *entries(1, 3), *entries(1, 9)) == IndexResult(
        listed=4, added=1, changed=1
    )
    assert live(store) == {"p0.jpg": 0, "p1.jpg": 1, "p3.jpg": 3, "p9.jpg": 4}, (
        "numbers are never given twice"
    )


def test_collections_are_apart(store: Store) -> None:
    index_collection(store, ListSource(entries(3)), "other", fence=0)
    assert index(store, *entries(1)) == IndexResult(listed=1, added=1)
    assert store.count_images("other") == 3


LISTINGS = st.lists(
    st.dictionaries(st.integers(0, 25), st.sampled_from(["v1", "v2"]), max_size=20),
    min_size=1,
    max_size=5,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(LISTINGS, st.integers(1, 7))
def test_any_history_ends_with_what_the_source_holds(
    store: Store, listings: list[dict[int, str]], batch: int
) -> None:
    """Whatever came before: live images are the last listing, and no number ever names two keys."""
    collection = uuid.uuid4().hex
    numbers: dict[int, str] = {}
    before: dict[int, str] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexer, "_BATCH", batch)
        for listing in listings:
            listed = [
                SourceEntry(f"p{number}.jpg", number, version)
                for number, version in listing.items()
            ]
            result = index_collection(
                store, ListSource(listed), collection, fence=0, accept_vanished=True
            )
            images = store.images(collection, 0, 10_000)
            assert {(i.key, i.size, i.version) for i in images} == {
                (e.key, e.size, e.version) for e in listed
            }
            assert all(
                numbers.setdefault(image.ordinal, image.key) == image.key for image in images
            )
            assert len(set(numbers.values())) == len(numbers), "nor any key two numbers"
            assert result.deleted == len(set(before) - set(listing))
            assert result.added + result.changed >= len(set(listing) - set(before))
            before = listing


# Listing problems ---------------------------------------------------------------------------------


def test_a_problem_takes_an_images_place(store: Store) -> None:
    result = index(
        store,
        *entries(2),
        troubles=[("secret", DENIED, "the folder cannot be read: Permission denied")],
    )
    assert (result.listed, result.problems) == (2, 1)
    problem = store.images(COLLECTION, 0, 9)[2]
    assert problem.key == "secret"
    assert listing_problem(problem) == (DENIED, "the folder cannot be read: Permission denied")
    assert listing_problem(store.images(COLLECTION, 0, 1)[0]) is None


def test_a_problem_that_is_over_goes_away(store: Store) -> None:
    index(store, *entries(1), troubles=[("secret", DENIED, "no"), ("p5.jpg", DENIED, "no")])
    result = index(store, *entries(1), SourceEntry("p5.jpg", 5, "v1"))
    assert (result.deleted, result.changed, result.problems) == (1, 1, 0)
    assert [listing_problem(image) for image in store.images(COLLECTION, 0, 9)] == [None, None]


@pytest.mark.parametrize("trouble", ["dir", "album.zip", "dir/deep"])
def test_what_cannot_be_looked_into_is_not_taken_for_gone(store: Store, trouble: str) -> None:
    kept = SourceEntry("kept.jpg", 1, "v1")
    keys = [
        "dir/a.jpg",
        "dir/deep/b.jpg",
        "album.zip!/c.jpg",
        "dirt.jpg",
        "album.zip.jpg",
        "gone.jpg",
    ]
    index(store, kept, *(SourceEntry(key, 1, "v1") for key in keys))
    result = index(store, kept, troubles=[(trouble, DENIED, "no")])
    hidden = {key for key in keys if key.startswith((f"{trouble}/", f"{trouble}!/"))}
    assert set(live(store)) == hidden | {trouble, kept.key}
    assert result.deleted == len(keys) - len(hidden)


def test_nothing_is_taken_for_gone_when_the_whole_source_failed_midway(store: Store) -> None:
    """The root's own key is empty: everything lies behind it."""
    index(store, *entries(5))
    result = index(
        store, *entries(2), troubles=[("", DENIED, "the folder cannot be read: Input/output error")]
    )
    assert result.deleted == 0
    assert len(live(store)) == 6


@pytest.mark.parametrize("count", [101, 2_500])
def test_every_problem_is_counted_and_hides_what_lies_behind_it(store: Store, count: int) -> None:
    behind = [SourceEntry(f"d{number}/a!/b.jpg", 1, "v1") for number in (0, 99, 100, count - 1)]
    index(store, *entries(9), *behind, SourceEntry(f"d{count}/a.jpg", 1, "v1"))
    troubles = [(f"d{number}", DENIED, "no") for number in range(count)]
    result = index(store, *entries(8), troubles=troubles)
    assert (result.listed, result.problems, result.deleted) == (8, count, 2)
    assert set(live(store)) == {e.key for e in [*entries(8), *behind]} | {
        key for key, _, _ in troubles
    }
    result = index(store, *entries(8))
    assert (result.problems, result.deleted) == (0, count + len({e.key for e in behind})), (
        "nothing hides them now"
    )


def test_many_problems_that_are_over_are_no_source_that_shrank(store: Store) -> None:
    index(store, *entries(8), troubles=[(f"{number}.zip", DENIED, "no") for number in range(300)])
    assert index(store, *entries(7)).deleted == 301
    with pytest.raises(SourceShrankError, match="7 of 7"):
        index(store)


def test_problems_alone_are_recorded_while_the_source_lists(store: Store) -> None:
    """Memory is bounded although nothing but problems is found."""
    most = 0

    class Broken(ListSource):
        @override
        def list(
            self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
        ) -> Iterator[SourceEntry]:
            nonlocal most
            for number in range(5_000):
                self.problems.add(f"{number:04}.zip", ErrorType.CORRUPT_IMAGE, "no archive")
                on_step()
                most = max(most, len(self.problems.untaken))
            yield from ()

    result = index_collection(store, Broken(), COLLECTION, fence=0)
    assert (result.listed, result.problems, store.count_images(COLLECTION)) == (0, 5_000, 5_000)
    assert most <= 1_000


# Progress and interruptions -----------------------------------------------------------------------


def test_progress_is_told_after_each_batch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer, "_BATCH", 10)
    reported: list[int] = []
    index_collection(store, ListSource(entries(25)), COLLECTION, reported.append, fence=0)
    assert reported == [10, 20, 25]


def test_what_progress_raises_ends_the_index_and_the_next_one_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "_BATCH", 10)
    index(store, *entries(1, 90))

    def interrupt(listed: int) -> None:
        if listed == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_collection(store, ListSource(entries(25)), COLLECTION, interrupt, fence=0)
    assert store.count_images(COLLECTION) == 21, (
        "what is listed is recorded, and nothing taken for gone"
    )
    assert index(store, *entries(25)) == IndexResult(listed=25, added=5, deleted=1)
    assert sorted(live(store).values()) == list(range(1, 26))


def test_a_source_that_fails_deletes_nothing(store: Store) -> None:
    class Broken(ListSource):
        @override
        def list(
            self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
        ) -> Iterator[SourceEntry]:
            yield from entries(2)
            raise SourceError("unplugged")

    index(store, *entries(5))
    with pytest.raises(SourceError):
        index_collection(store, Broken(), COLLECTION, fence=0)
    assert store.count_images(COLLECTION) == 5


def test_progress_is_told_while_a_source_lists_and_has_found_nothing_yet(store: Store) -> None:
    class Slow(ListSource):
        @override
        def list(
            self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
        ) -> Iterator[SourceEntry]:
            for _page in range(3):
                on_step()
            yield from super().list(on_step, memory)

    reported: list[int] = []
    index_collection(store, Slow(entries(2)), COLLECTION, reported.append, fence=0)
    assert reported[:3] == [0, 0, 0]


class Noting(ListSource):
    """Opens an archive of two images and an unreadable one, and a file that is not an image.

    Notes what it found.
    """

    def __init__(self, content: str = "v1") -> None:
        super().__init__()
        self.content = content
        self.known: dict[str, str] = {}
        self.remembered: list[SourceEntry | ListingProblem] = []

    @override
    def list(
        self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
    ) -> Iterator[SourceEntry]:
        self.known = dict(memory.versions(["a.zip", "note.txt", "z.jpg"]))
        self.remembered = list(memory.members("a.zip"))
        memory.note(SourceEntry("note.txt", 9, Noted.NO_IMAGE + self.content))
        yield from (SourceEntry(f"a.zip!/{number}.jpg", 5, self.content) for number in range(2))
        self.problems.add("a.zip!/x.jpg", DENIED, "encrypted")
        memory.note(SourceEntry("a.zip", 99, Noted.ARCHIVE + self.content))
        yield SourceEntry("z.jpg", 7, self.content)


def test_what_opening_taught_is_known_the_next_time(store: Store) -> None:
    source = Noting()
    assert index_collection(store, source, COLLECTION, fence=0) == IndexResult(
        listed=3, added=4, problems=1
    )
    assert source.known == {} and source.remembered == []
    assert index_collection(store, source, COLLECTION, fence=0) == IndexResult(listed=3, problems=1)
    assert source.known == {"a.zip": "archive/1:v1", "note.txt": "none/1:v1", "z.jpg": "v1"}
    assert source.remembered == [
        SourceEntry("a.zip!/0.jpg", 5, "v1"),
        SourceEntry("a.zip!/1.jpg", 5, "v1"),
        ListingProblem("a.zip!/x.jpg", DENIED, "encrypted"),
    ]
    assert set(live(store)) == {"a.zip!/0.jpg", "a.zip!/1.jpg", "a.zip!/x.jpg", "z.jpg"}, (
        "notes are not images"
    )
    assert store.count_images(COLLECTION) == 4
    source.content = "v2"
    assert index_collection(store, source, COLLECTION, fence=0) == IndexResult(
        listed=3, changed=3, problems=1
    )
    index_collection(store, source, COLLECTION, fence=0)
    assert source.known["note.txt"] == "none/1:v2"


def test_no_archive_counts_as_listed_before_its_images_are_recorded(store: Store) -> None:
    class Broken(Noting):
        @override
        def list(
            self, on_step: Callable[[], None] = nothing, memory: Memory = FORGETFUL
        ) -> Iterator[SourceEntry]:
            yield from super().list(on_step, memory)
            raise SourceError("unplugged")

    with pytest.raises(SourceError):
        index_collection(store, Broken(), COLLECTION, fence=0)
    assert store.images_by_key(COLLECTION, ["a.zip"]) == {}


def test_an_image_that_is_none_any_more_is_gone(store: Store) -> None:
    index(store, SourceEntry("note.txt", 9, "v0"), *entries(1))
    for _ in range(2):
        source = Noting()
        index_collection(store, source, COLLECTION, fence=0)
    assert "note.txt" not in live(store)
    index_collection(store, source, COLLECTION, fence=0)
    assert source.known["note.txt"] == "none/1:v1"


def test_only_one_batch_is_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    upsert = store.upsert_images

    def note(images: Sequence[ImageRecord], fence: int) -> None:
        sizes.append(len(images))
        upsert(images, fence)

    monkeypatch.setattr(store, "upsert_images", note)
    index(store, *entries(2_500))
    assert sizes == [1_000, 1_000, 500]


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=30), st.integers(1, 10))
def test_batches(items: list[int], size: int) -> None:
    batches = list(batched(items, size))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(batches)


def test_batches_are_taken_one_at_a_time() -> None:
    taken: list[int] = []
    note: Callable[[int], int] = lambda n: taken.append(n) or n  # type: ignore[func-returns-value] # noqa: E731
    next(batched((note(n) for n in range(100)), 3))
    assert taken == [0, 1, 2]


# Sources that shrink ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "left", "refused"),
    [
        (1, 0, True),
        (99, 1, False),
        (100, 50, False),
        (100, 49, True),
        (300, 0, True),
        (0, 0, False),
    ],
)
def test_a_source_that_lost_most_of_its_images_is_not_believed(
    store: Store, known: int, left: int, refused: bool
) -> None:
    index(store, *entries(known))
    if refused:
        with pytest.raises(
            SourceShrankError, match=f"{known - left} of {known} .*--accept-vanished"
        ):
            index(store, *entries(left))
        assert store.count_images(COLLECTION) == known, "nothing is forgotten"
    result = index_collection(
        store, ListSource(entries(left)), COLLECTION, fence=0, accept_vanished=True
    )
    assert result.deleted == known - left
    assert store.count_images(COLLECTION) == left


def test_new_images_do_not_make_up_for_those_that_vanished(store: Store) -> None:
    index(store, *entries(100))
    with pytest.raises(SourceShrankError):
        index(store, *entries(500, 1_000))


def test_what_a_filter_leaves_out_now_is_not_lacking(store: Store) -> None:
    """Nor are files that earlier versions took for images that fail.

    What is known of them comes back with them.
    """
    source = ListSource(entries(300))
    index_collection(store, source, COLLECTION, fence=0)
    known = store.images(COLLECTION, 299, 300)
    source.listed = entries(10)
    source.leaves_out = lambda key: int(key[1:-4]) >= 150
    source.left_out.add(Reason.EXCLUDED, "p299.jpg")
    with pytest.raises(SourceShrankError, match="140 of 150"):
        index_collection(store, source, COLLECTION, fence=0)
    source.leaves_out = lambda key: int(key[1:-4]) >= 20
    source.left_out.add(Reason.EXCLUDED, "p299.jpg")
    named: list[tuple[Reason, str]] = []
    result = index_collection(store, source, COLLECTION, fence=0, on_left_out=named.extend)
    assert (result.deleted, result.left_out, named) == (
        290,
        {"excluded": 2},
        [(Reason.EXCLUDED, "p299.jpg")],
    )
    index_collection(store, ListSource(entries(300)), COLLECTION, fence=0)
    assert store.images(COLLECTION, 299, 300) == known


def test_raw_files_that_an_earlier_version_took_for_failed_images_are_no_loss(
    store: Store, tmp_path: Path
) -> None:
    raws = [f"{number}.nef" for number in range(150)]
    for name in (*raws, "a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "out.jpg").symlink_to("/etc/hostname")
    source = LocalSource(str(tmp_path))
    images = list(source.list())
    old = [SourceEntry(name, 1, "1-1") for name in raws]
    index(
        store,
        *images,
        *old,
        troubles=[("out.jpg", ErrorType.PATH_VIOLATION, "a link that leaves the source")],
    )
    facts = [
        replace(each, width=4, height=3, thumbhash=b"\1") for each in store.images(COLLECTION, 0, 2)
    ]
    store.upsert_images(facts, 0)
    result = index_collection(store, source, COLLECTION, fence=0)
    assert (result.listed, result.deleted, result.problems) == (2, 151, 0)
    assert result.left_out == {"raw": 150, "outwardLink": 1}
    assert store.images(COLLECTION, 0, 999) == facts, "nothing else has changed"


def test_a_filter_does_not_explain_a_source_in_which_nothing_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not be mounted."""
    index(store, *entries(3))
    source = ListSource()
    monkeypatch.setattr(source, "leaves_out", lambda _key: True)
    with pytest.raises(SourceShrankError):
        index_collection(store, source, COLLECTION, fence=0)
    source.left_out.add(Reason.EXCLUDED_FOLDER, "photos")
    assert index_collection(store, source, COLLECTION, fence=0).deleted == 3


def known_facts(store: Store) -> ImageRecord:
    index(store, *entries(3))
    (old,) = store.images(COLLECTION, 1, 2)
    store.upsert_images([replace(old, width=4, height=3, format="jpeg", thumbhash=b"\1")], 0)
    return store.images(COLLECTION, 1, 2)[0]


def test_an_image_that_was_away_and_comes_back_unchanged_keeps_its_facts(store: Store) -> None:
    known = known_facts(store)
    index(store, entries(1)[0], entries(1, 2)[0])
    assert live(store).keys() == {"p0.jpg", "p2.jpg"}
    index(store, *entries(3))
    assert store.images(COLLECTION, 1, 2) == [known]


def test_an_image_that_could_not_be_looked_at_keeps_its_facts_if_it_is_unchanged(
    store: Store,
) -> None:
    known = known_facts(store)
    for _ in range(2):
        index(store, entries(1)[0], entries(1, 2)[0], troubles=[(known.key, DENIED, "no")])
        (hidden,) = store.images(COLLECTION, 1, 2)
        assert listing_problem(hidden) == (DENIED, "no")
    index(store, *entries(3))
    assert store.images(COLLECTION, 1, 2) == [known]
    index(store, entries(1)[0], entries(1, 2)[0], troubles=[(known.key, DENIED, "no")])
    index(store, entries(1)[0], entries(1, 1, "v2")[0], entries(1, 2)[0])
    assert store.images(COLLECTION, 1, 2)[0].thumbhash is None
