"""Checking a bucket's files by listing them: what is expected, sorted by path,
is merged with what S3 lists.

The paths that are expected are cut into parts of some 25 pages each, a few of which are listed at a
time: that is the only way to list one bucket in parallel, and costs about one page more per part.
Memory holds those few parts.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from obstore.store import S3Store

from fpj_core.folders.base import BATCH, Expected
from fpj_core.objectlist import PAGE, Listed, pages
from fpj_core.objects import Bucket
from fpj_core.sources.natural import sorted_externally

_PART = 25 * PAGE
_AT_A_TIME = 6
_SAMPLES = 4_096
"""Paths of a tier, drawn at random, that tell where its parts begin."""


class _Range:
    """Where the expected paths of one tier lie."""

    def __init__(self, path: str) -> None:
        self.first = self.last = path
        self.count = 0
        self._samples: list[str] = []
        self._chance = random.Random(0)  # noqa: S311 - a sample, not a secret

    def add(self, path: str) -> None:
        self.first, self.last = min(self.first, path), max(self.last, path)
        self.count += 1
        if len(self._samples) < _SAMPLES:
            self._samples.append(path)
        elif (place := self._chance.randrange(self.count)) < _SAMPLES:
            self._samples[place] = path

    def parts(self) -> list[tuple[str, str]]:
        """(after, last) of each part, ascending; together they hold every path."""
        number = -(-self.count // _PART)
        samples = sorted(self._samples)
        cuts = [samples[len(samples) * place // number] for place in range(1, number)]
        return list(zip([self.first[:-1], *cuts], [*cuts, self.last], strict=True))


class Listing:
    """Compares what is expected of a bucket with what is in it."""

    def __init__(self, bucket: Bucket, client: S3Store) -> None:
        self._bucket = bucket
        self._client = client

    def lacking(
        self, expected: Iterable[Expected], on_step: Callable[[], None]
    ) -> Iterator[tuple[int, str]]:
        """See `fpj_core.folders.base.CacheFolder.lacking`."""
        ranges: dict[str, _Range] = {}

        def noted() -> Iterator[Expected]:
            for number, each in enumerate(expected):
                path, _, (_, tier) = each
                (ranges.get(tier) or ranges.setdefault(tier, _Range(path))).add(path)
                if number % BATCH == 0:
                    on_step()
                yield each

        wanted = sorted_externally(noted(), key=lambda each: each[0].encode(), on_step=on_step)
        first = next(wanted, None)  # from here on, every range is known
        if first is None:
            return
        listed = self._listed(_apart(ranges.values()), on_step)
        there = next(listed, None)
        waiting: Expected | None = first
        while waiting is not None:
            path, size, which = waiting
            while there is not None and there.key.encode() < path.encode():
                there = next(listed, None)
            if there is None or there.key != path or there.size != size:
                yield which
            waiting = next(wanted, None)

    def _listed(
        self, parts: list[tuple[str, str]], on_step: Callable[[], None]
    ) -> Iterator[Listed]:
        """The objects of the parts, one part after another,
        of which the next few are being listed meanwhile.
        """
        ahead: deque[Future[list[Listed]]] = deque()
        left = iter(parts)
        with ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="fpj-list") as threads:
            try:
                while True:
                    while len(ahead) < _AT_A_TIME and (part := next(left, None)) is not None:
                        ahead.append(threads.submit(self._part, *part))
                    if not ahead:
                        return
                    yield from ahead.popleft().result()
                    on_step()
            finally:
                for each in ahead:
                    each.cancel()

    def _part(self, after: str, last: str) -> list[Listed]:
        found: list[Listed] = []
        end = last.encode()
        for page in pages(self._bucket, self._client, after):
            found += [each for each in page if each.key.encode() <= end]
            if page and page[-1].key.encode() >= end:
                break
        return found


def _apart(ranges: Iterable[_Range]) -> list[tuple[str, str]]:
    """The parts of all ranges, ascending; those of ranges that overlap become one part."""
    ordered = sorted(ranges, key=lambda each: each.first.encode())
    parts: list[tuple[str, str]] = []
    for each in ordered:
        if parts and each.first.encode() <= parts[-1][1].encode():
            parts[-1] = (parts[-1][0], max(parts[-1][1], each.last))
        else:
            parts += each.parts()
    return parts
