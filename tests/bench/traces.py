"""Requests for derivatives: two recorded traces, and albums that are made up.

Only the standard library, so that a simulator with an environment of its own can read them too.

The recorded traces are in Caffeine's simulator, a jar that hack/traces.sh fetches. They say what
was asked for, in which order, and AdaptSize's also how large it was; nothing else:

- Their requests are spread evenly over four weeks.
- **AdaptSize's** sizes are real. A derivative takes 27 ms and 1 ms for each 18 KB written, which is
  the line through fpj's own 28 ms for 17 KB and 45 ms for 326 KB: most of it is the decoding.
- **Scarab's** keys are derivatives: half are thumbnails, and half images at 1920 px, of which half
  are AVIF, by a hash of the key. Sizes are spread by half around the usual one.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import lzma
import os
import random
import struct
import zipfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

DAY = 86_400
_DAYS = 28
_JAR = Path("fpj", "traces-3.1.8", "simulator-3.1.8.jar")
_FOLDER = "com/github/benmanes/caffeine/cache/simulator/parser"
_THUMBNAIL, _JPEG, _AVIF = (17_000, 28.0), (326_000, 45.0), (165_000, 180.0)
"""Usual bytes and CPU milliseconds."""
_COLLECTIONS = 2_000
_PAGE = 24


@dataclass(slots=True)
class Trace:
    """Which derivative each request asks for, by number, and when. Each has a size and a cost."""

    asked: array[int] = field(default_factory=lambda: array("I"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    sizes: list[int] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    """CPU milliseconds."""
    _numbers: dict[object, int] = field(default_factory=dict)

    def ask(self, key: object, seconds: float, size: int, cost: float) -> None:
        """Append a request. Size and cost stay those of the key's first one."""
        number = self._numbers.setdefault(key, len(self.sizes))
        if number == len(self.sizes):
            self.sizes.append(size)
            self.costs.append(cost)
        self.asked.append(number)
        self.seconds.append(seconds)

    @property
    def bytes(self) -> int:
        """Of all derivatives that are asked for, each once."""
        return sum(self.sizes)

    @property
    def asked_bytes(self) -> int:
        """Of all requests."""
        return sum(map(self.sizes.__getitem__, self.asked))

    @property
    def first_ms(self) -> float:
        """What no policy saves: each derivative is made once."""
        return sum(self.costs)


def jar_path() -> Path:
    """Where hack/traces.sh puts the recorded traces."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / _JAR


def adapt_size() -> Trace:
    """66,987 requests to a web cache, with sizes. A key keeps the size it had first."""
    with zipfile.ZipFile(jar_path()) as jar:
        return adapt_size_lines(lzma.decompress(jar.read(f"{_FOLDER}/adapt_size/request.trace.xz")))


def adapt_size_lines(lines: bytes) -> Trace:
    """Each has a number of its own, a key and bytes."""
    requests = (map(int, line.split()[1:]) for line in lines.splitlines())
    return _evenly([(key, max(size, 1), 27 + size / 18_000) for key, size in requests])


def scarab(count: int) -> Trace:
    """The first requests of a recommendation service."""
    name = f"{_FOLDER}/scarab/recs.trace.20160808T073231Z.xz"
    with zipfile.ZipFile(jar_path()) as jar, jar.open(name) as packed, lzma.open(packed) as keys:
        return scarab_keys(keys.read(8 * count))


def scarab_keys(keys: bytes) -> Trace:
    """Of 8 bytes each."""
    return _evenly([(key, *_by_hash(key)) for (key,) in struct.iter_unpack(">Q", keys)])


def albums(visits_a_day: int, *, collections: int = _COLLECTIONS, seed: int = 1) -> Trace:
    """Four weeks of visits to albums of 24 to 240 images, and of a crawler.

    Few albums are popular (Zipf, 0.8), and each less so as it ages; a third are new in these weeks.
    A visitor looks through pages of 24 thumbnails, half of them leave after each, and opens every
    tenth image, seven visitors of ten as AVIF and the others as JPEG. A tenth as much is asked for
    by the crawler: thumbnails and JPEGs of everything, album by album.
    """
    trace, chance = Trace(), random.Random(seed)
    lengths = [chance.randrange(24, 241) for _ in range(collections)]
    popularity = list(itertools.accumulate((each + 1) ** -0.8 for each in range(collections)))
    published = [chance.uniform(-2 * _DAYS, _DAYS) for _ in range(collections)]
    every = ((album, image) for album in range(collections) for image in range(lengths[album]))
    crawler = itertools.cycle((*each, kind) for each in every for kind in (_THUMBNAIL, _JPEG))
    day = 0.0
    while (day := day + chance.expovariate(visits_a_day)) < _DAYS:
        album = _album(day, popularity, published, chance)
        visit = list(_visit(album, lengths[album], chance))
        for key in (*visit, *itertools.islice(crawler, round(len(visit) / 10))):
            size, cost = key[2]
            trace.ask(key, day * DAY, int(size * chance.uniform(0.5, 1.5)), cost)
    return trace


def _album(
    day: float, popularity: Sequence[float], published: Sequence[float], chance: random.Random
) -> int:
    """One that is there by then, and the younger the more likely."""
    while True:
        album = bisect.bisect(popularity, chance.random() * popularity[-1])
        age = day - published[album]
        if age >= 0 and chance.random() < (1 + age / 3) ** -0.7:
            return album


def _visit(
    album: int, length: int, chance: random.Random
) -> Iterator[tuple[int, int, tuple[int, float]]]:
    large = _AVIF if chance.random() < 0.7 else _JPEG
    for start in range(0, length, _PAGE):
        page = range(start, min(start + _PAGE, length))
        yield from ((album, image, _THUMBNAIL) for image in page)
        yield from ((album, image, large) for image in page if chance.random() < 0.1)
        if chance.random() < 0.5:
            return


def _evenly(requests: Sequence[tuple[object, int, float]]) -> Trace:
    """Of key, size and cost, spread over the four weeks."""
    trace, apart = Trace(), _DAYS * DAY / max(len(requests), 1)
    for number, (key, size, cost) in enumerate(requests):
        trace.ask(key, number * apart, size, cost)
    return trace


@cache
def _by_hash(key: int) -> tuple[int, float]:
    digest = hashlib.blake2b(key.to_bytes(8), digest_size=8).digest()
    size, cost = (_THUMBNAIL, _THUMBNAIL, _JPEG, _AVIF)[digest[0] % 4]
    return int(size * (0.5 + int.from_bytes(digest[1:3]) / 65_536)), cost


TRACES: Mapping[str, Callable[[int], Trace]] = {
    "adaptsize": lambda _: adapt_size(),
    "scarab": scarab,
    "albums": albums,
}
"""By name; the number is Scarab's requests, or the visits to albums a day."""
