"""An object's bytes read by range, as a file that one can seek in,
for formats that are read from their end.

The first request asks for the object's last bytes, and pins what is read from then on to the ETag
that it answers: parts of two different contents never meet.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import obstore
from obstore import exceptions
from obstore.store import ObjectStore
from typing_extensions import override

from fpj_core.errors import ContentChangedError, ErrorType
from fpj_core.objects import OBJECT_ERRORS, object_error
from fpj_core.sources.base import refuse_too_large

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult

_TAIL = 2**16 + 64
"""Bytes at a zip's end that hold its end record whatever its comment (APPNOTE.TXT, 4.3.16),
and mostly all it lists.
"""
_BLOCK = 2**16
_KEPT_BLOCKS = 32
_STRETCH = 8 * 2**20
"""Bytes of an announced stretch that are asked for at a time:
whatever is held in memory as a whole is one request.
"""
_SMALL, _AHEAD = 2**15, 2**19
"""What takes up to so many bytes is asked for with so many:
they take no longer than two requests more would.
"""
_PIECE = 16 * 2**20
"""Bytes of a whole object asked for at a time: so much arrives within a request's time limit at 150
kB/s.
"""


class _Held(NamedTuple):
    start: int
    content: memoryview

    def holds(self, position: int) -> bool:
        return self.start <= position < self.start + len(self.content)


class RangedObject(io.RawIOBase):
    """An object as a file; memory is bounded by some 10 MiB. Reading raises `ImageError`."""

    def __init__(self, client: ObjectStore, name: str, what: str) -> None:
        super().__init__()
        self._client = client
        self._name = name
        self._what = what
        self._position = 0
        self._announced = (0, 0)
        self._stretch = _Held(0, memoryview(b""))
        self._blocks: OrderedDict[int, _Held] = OrderedDict()
        self.etag, self.size, self._tail = self._opened()

    def expect(self, start: int, stop: int) -> None:
        """What will be read next, so that it is asked for at once.

        With what follows, if it is small.
        """
        small = stop - start <= _SMALL
        if small and self._stretch.holds(start) and self._stretch.holds(min(stop, self.size) - 1):
            return
        self._announced = (start, min(start + _AHEAD if small else stop, self.size))
        self._stretch = _Held(0, memoryview(b""))

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Raises OSError for a place before the beginning, as files do."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError("a place before the beginning of the object")
        self._position = base + offset
        return self._position

    @override
    def readinto(self, target: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """As many bytes as are at hand, at least one before the end."""
        if self._position >= self.size or not len(target):
            return 0
        held = self._held(len(target))
        offset = self._position - held.start
        part = held.content[offset : offset + len(target)]
        target[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _held(self, wanted: int) -> _Held:
        if self._tail.holds(self._position):
            return self._tail
        start, stop = self._announced
        if not self._stretch.holds(self._position) and start <= self._position < stop:
            self._stretch = self._asked(self._position, min(self._position + _STRETCH, stop))
        if self._stretch.holds(self._position):
            return self._stretch
        # The table of contents, of which a buffer asks for the last bytes apart.
        if wanted > _BLOCK:
            self._stretch = self._asked(
                self._position, min(self._position + wanted + _BLOCK, self.size)
            )
            return self._stretch
        return self._block(self._position // _BLOCK)

    def _block(self, number: int) -> _Held:
        if number not in self._blocks:
            start = number * _BLOCK
            self._blocks[number] = self._asked(start, min(start + _BLOCK, self.size))
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    # Requests -------------------------------------------------------------------------------------

    def _opened(self) -> tuple[str | None, int, _Held]:
        try:
            try:
                result = obstore.get(self._client, self._name, options={"range": {"suffix": _TAIL}})
            # Some answer with the whole of what is shorter.
            except exceptions.GenericError as error:
                if obstore.head(self._client, self._name)["size"] > _TAIL:
                    raise object_error(error, self._what) from error
                result = obstore.get(self._client, self._name)
            return (
                result.meta["e_tag"],
                result.meta["size"],
                _Held(result.range[0], memoryview(result.bytes())),
            )
        except OBJECT_ERRORS as error:
            raise object_error(error, self._what) from error

    def _asked(self, start: int, stop: int) -> _Held:
        return _Held(start, part(self._client, self._name, self._what, (start, stop), self.etag)[0])


def part(
    client: ObjectStore, name: str, what: str, where: tuple[int, int], etag: str | None
) -> tuple[memoryview, GetResult]:
    """Bytes ``[start, stop)`` of an object, shorter only at its end, and what was answered.

    Raises `ContentChangedError` unless the object has the ETag, where one is given; `ImageError`.
    """
    options: GetOptions = {"range": where}
    if etag is not None:
        options["if_match"] = etag
    try:
        result = obstore.get(client, name, options=options)
        if etag is not None and result.meta["e_tag"] != etag:  # a server that ignores If-Match
            raise _changed(what)
        return memoryview(result.bytes()), result
    except exceptions.PreconditionError as error:
        raise _changed(what) from error
    except OBJECT_ERRORS as error:
        raise object_error(error, what) from error


def pieces(client: ObjectStore, name: str, what: str, max_size: int) -> Iterator[memoryview]:
    """The whole of an object that is not empty, piece by piece, all of one content.

    Raises as `part` does, and TooLarge before anything is read beyond the first piece.
    """
    content, result = part(client, name, what, (0, _PIECE), None)
    etag, size = result.meta["e_tag"], result.meta["size"]
    refuse_too_large(size, max_size)
    yield content
    for start in range(_PIECE, size, _PIECE):
        yield part(client, name, what, (start, min(start + _PIECE, size)), etag)[0]


def _changed(what: str) -> ContentChangedError:
    return ContentChangedError(ErrorType.STORE_UNAVAILABLE, f"{what} changed while it was read")
