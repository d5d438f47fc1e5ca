"""Archives (zip, cbz) as folders: members are listed and read one by one,
never unpacked as a whole.

Limits hold against archive bombs: the size of the table of contents, the number of members, and for
each member its size and compression ratio, enforced while reading because headers lie. Archives
inside archives are not opened. A member's version is its size and CRC, so packing the same pages
again makes nothing again. An archive need not be a
file: whatever can be read at any place will do.
"""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from typing_extensions import override

from fpj_core.errors import ContentChangedError, ErrorType, ImageError
from fpj_core.model import SourceEntry
from fpj_core.sources.base import (
    ARCHIVE_EXTENSIONS,
    IMAGE_EXTENSIONS,
    IN_MEMORY,
    OpenedImage,
    Problems,
    closed_after,
    copy_bounded,
    extension,
    left_out,
    nothing,
    open_regular,
    refuse_too_large,
)
from fpj_core.sources.keys import member_key
from fpj_core.sources.natural import natural_key
from fpj_core.sources.sniff import HEAD, sniff

_MOST_MEMBERS = 100_000
_MOST_DIRECTORY = 32 * 2**20
"""Bytes of table of contents: what 100,000 members with names of 255 bytes need. zipfile loads it
whole, in memory of some eight times its size.
"""
_MOST_RATIO = 200
"""Compression ratio from which a member over `_RATIO_FROM` bytes is a bomb.

Photographs do not compress at all.
"""
_RATIO_FROM = 4 * 2**20
_OPEN_ARCHIVES = 4
_ENCRYPTED = 0x1
_UTF8 = 0x800
_WAS_UTF8 = 0x8000  # reserved, and never looked at
_HEADER, _ENTRY = 30, 46
"""Bytes of a member's header and of an entry of the table of contents, without their texts."""
_SLACK = 1_024
"""Bytes by which the extra field of a member's header may be longer than that in the table of
contents.
"""
_CHUNK = 2**20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""All that ISO/IEC 21320-1 allows. zipfile unpacks the others without a bound:
4 KiB of bzip2 can become 4 GiB.
"""
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, struct.error)


@runtime_checkable
class Expecting(Protocol):
    """Bytes that come from afar, and had better be asked for at once."""

    def expect(self, start: int, stop: int) -> None:
        """These will be read next."""


def open_file(path: bytes) -> io.RawIOBase:
    """An archive that is a file. Raises `ImageError`."""
    return io.FileIO(open_regular(path, "the archive"))


class Archives:
    """Open archives, a few at a time: members come in order,
    so the same one is asked for again and again.

    ``open_content`` opens one by its path; what it and reading raise as `ImageError` is passed on.
    """

    def __init__(self, open_content: Callable[[bytes], io.RawIOBase] = open_file) -> None:
        self._open: OrderedDict[bytes, _OpenArchive] = OrderedDict()
        self._open_content = open_content

    def list_members(
        self,
        path: bytes,
        container: str,
        problems: Problems,
        on_step: Callable[[], None] = nothing,
        takes: Callable[[str], bool] = lambda _key: True,
    ) -> Iterator[SourceEntry]:
        """The images in an archive whose keys ``takes`` takes, in natural order.

        What cannot be listed is a problem.

        Raises `ContentChangedError`, and `ImageError` for content that cannot be read any more.
        """
        try:
            archive = self._archive(path)
        except ContentChangedError:
            raise
        except ImageError as error:
            problems.add(container, error.error_type, error.message)
            return
        members = {
            info.filename: info
            for info in archive.directory.infolist()
            if not info.filename.endswith("/")
        }
        if len(members) > _MOST_MEMBERS:
            problems.add(
                container,
                ErrorType.TOO_LARGE,
                f"{len(members):,} members; {_MOST_MEMBERS:,} are allowed",
            )
            return
        for name in sorted(members, key=natural_key):
            info, key = members[name], member_key(container, name)
            on_step()
            if not _leads_out(name) and (
                _left_out(name) or not takes(key) or not _may_be_image(archive, info)
            ):
                continue
            if refusal := _refusal(info):
                problems.add(key, *refusal)
            else:
                yield SourceEntry(key, info.file_size, f"{info.file_size}-{info.CRC:08x}")

    @contextmanager
    def open_member(self, path: bytes, member: str, *, max_file_size: int) -> Iterator[OpenedImage]:
        """One member's content, in memory or, when large, in a temporary file."""
        archive = self._archive(path)
        try:
            info = archive.directory.getinfo(member)
        except KeyError:
            raise ImageError(ErrorType.NOT_FOUND, f"{member} is no longer in the archive") from None
        if refusal := _refusal(info):
            raise ImageError(*refusal)
        refuse_too_large(info.file_size, max_file_size)
        if info.file_size <= IN_MEMORY:
            content = io.BytesIO()
            copy_bounded(_chunks(archive, info), content, max_file_size)
            yield OpenedImage(name=member, data=content.getvalue())
            return
        with closed_after(tempfile.TemporaryFile(prefix="fpj-member-")) as copy:
            copy_bounded(_chunks(archive, info), copy, max_file_size)
            yield OpenedImage(name=member, path=b"/proc/self/fd/%d" % copy.fileno())

    def forget(self, path: bytes) -> None:
        """Open an archive again when it is next needed."""
        if path in self._open:
            self._open.pop(path).close()

    def close(self) -> None:
        """Close every archive."""
        while self._open:
            self._open.popitem()[1].close()

    def __del__(self) -> None:
        self.close()

    def _archive(self, path: bytes) -> _OpenArchive:
        if path not in self._open:
            self._open[path] = _load(self._open_content(path))
            if len(self._open) > _OPEN_ARCHIVES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return self._open[path]


@dataclass(frozen=True, slots=True)
class _OpenArchive:
    directory: zipfile.ZipFile
    content: _Content

    def expect(self, info: zipfile.ZipInfo) -> None:
        """The whole of a member will be read next."""
        if isinstance(self.content.raw, Expecting):
            headers = _HEADER + 4 * len(info.filename) + len(info.extra) + _SLACK
            self.content.raw.expect(
                info.header_offset, info.header_offset + headers + info.compress_size
            )

    def close(self) -> None:
        self.directory.close()
        self.content.close()


class _Content(io.BufferedReader):
    """An archive's bytes.

    The only long read that zipfile asks for is that of the table of contents.

    With ``raw_names`` no name is flagged as UTF-8, so that zipfile does not decode it; `_WAS_UTF8`
    is set instead.
    """

    raw_names = False

    @override
    def read(self, size: int | None = -1, /) -> bytes:
        if size and size > _MOST_DIRECTORY:
            raise ImageError(
                ErrorType.TOO_LARGE, f"the archive's table of contents takes {size:,} bytes"
            )
        content = super().read(size)
        return _unflagged(content) if self.raw_names else content


def _directory(content: _Content) -> zipfile.ZipFile:
    """An archive's table of contents.

    Names that are not what they are flagged as lose nothing but their look.
    """
    try:
        return zipfile.ZipFile(content)
    except UnicodeDecodeError:
        content.raw_names = True
    archive = zipfile.ZipFile(content, metadata_encoding="latin-1")  # a character for each byte
    for info in archive.infolist():
        raw = info.orig_filename.encode("latin-1").split(b"\0")[0]
        info.filename = (
            raw.decode("utf-8", "surrogateescape")
            if info.flag_bits & _WAS_UTF8
            else raw.decode("cp437")
        )
    archive.NameToInfo = {info.filename: info for info in archive.infolist()}
    return archive


def _unflagged(content: bytes) -> bytes:
    """The header of a member, or the table of contents (APPNOTE.TXT, 4.3.7 and 4.3.12).

    Anything else as it is.
    """
    changed, position = bytearray(content), 0
    if len(content) == _HEADER and content[:4] == b"PK\3\4":
        _unflag(changed, 6)
    while content[position : position + 4] == b"PK\1\2" and len(content) >= position + _ENTRY:
        _unflag(changed, position + 8)
        position += _ENTRY + sum(struct.unpack_from("<3H", content, position + 28))
    return bytes(changed)


def _unflag(header: bytearray, position: int) -> None:
    (flags,) = struct.unpack_from("<H", header, position)
    flags &= ~_WAS_UTF8
    if flags & _UTF8:
        flags ^= _UTF8 | _WAS_UTF8
    struct.pack_into("<H", header, position, flags)


def _load(raw: io.RawIOBase) -> _OpenArchive:
    content = _Content(raw)
    try:
        return _OpenArchive(_directory(content), content)
    except BaseException as error:
        content.close()
        if isinstance(error, NotImplementedError):
            raise ImageError(
                ErrorType.UNSUPPORTED_FORMAT, f"not an archive that can be read: {error}"
            ) from error
        if isinstance(error, _DAMAGED):
            raise ImageError(ErrorType.CORRUPT_IMAGE, f"not a readable archive: {error}") from error
        raise


def _left_out(name: str) -> bool:
    return any(left_out(part) for part in name.replace("\\", "/").split("/") if part != ".")


def _may_be_image(archive: _OpenArchive, info: zipfile.ZipInfo) -> bool:
    """By extension, else by content; what cannot be looked at is taken for one, to fail visibly."""
    unreadable = info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS
    if unreadable or extension(info.filename) in IMAGE_EXTENSIONS | ARCHIVE_EXTENSIONS:
        return True
    try:
        with archive.directory.open(info) as stream:
            return sniff(stream.read(HEAD)) not in (None, "zip")
    except (NotImplementedError, RuntimeError, *_DAMAGED):
        return True


def _chunks(archive: _OpenArchive, info: zipfile.ZipInfo) -> Iterator[bytes]:
    archive.expect(info)
    try:
        with archive.directory.open(info) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except NotImplementedError as error:
        raise ImageError(ErrorType.UNSUPPORTED_FORMAT, f"{info.filename}: {error}") from error
    except (RuntimeError, *_DAMAGED) as error:
        raise ImageError(
            ErrorType.CORRUPT_IMAGE, f"{info.filename} is damaged in its archive: {error}"
        ) from error


def _refusal(info: zipfile.ZipInfo) -> tuple[ErrorType, str] | None:
    """Why a member is not read at all."""
    if _leads_out(info.filename):
        return ErrorType.PATH_VIOLATION, "the member's name leads out of the archive"
    if info.flag_bits & _ENCRYPTED:
        return ErrorType.ACCESS_DENIED, "the member is encrypted"
    if extension(info.filename) in ARCHIVE_EXTENSIONS:
        return ErrorType.UNSUPPORTED_FORMAT, "an archive inside an archive is not opened"
    if info.compress_type not in _METHODS:
        return (
            ErrorType.UNSUPPORTED_FORMAT,
            f"packed by method {info.compress_type}; only stored and deflated are read",
        )
    if info.file_size > _RATIO_FROM and info.file_size > _MOST_RATIO * max(info.compress_size, 1):
        return (
            ErrorType.TOO_LARGE,
            f"unpacks to {info.file_size:,} bytes from {info.compress_size:,}",
        )
    return None


def _leads_out(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or (len(parts) > 1 and parts[0][1:] == ":")
