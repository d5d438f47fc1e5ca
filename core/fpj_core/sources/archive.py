"""Archives (zip, cbz) as folders: members are listed and read one by one, never unpacked as a whole.

Limits hold against archive bombs: the size of the table of contents, the number of members, and for each member its
size and compression ratio, enforced while reading because headers lie. Archives inside archives are not opened.
A member's version is its size and CRC, so packing the same pages again makes nothing again.
"""

from __future__ import annotations

import lzma
import os
import struct
import tempfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from fpj_core.errors import ErrorType, ImageError
from fpj_core.model import SourceEntry
from fpj_core.sources.base import (
    ARCHIVE_EXTENSIONS,
    IMAGE_EXTENSIONS,
    IN_MEMORY,
    OpenedImage,
    Problems,
    extension,
    image_error_from_os,
    left_out,
    refuse_too_large,
)
from fpj_core.sources.keys import member_key
from fpj_core.sources.natural import natural_key
from fpj_core.sources.sniff import HEAD, sniff

_MOST_MEMBERS = 100_000
_MOST_DIRECTORY = 64 * 2**20
"""Bytes of table of contents: what 100,000 members with the longest usual names need; zipfile loads it whole."""
_MOST_RATIO = 200
"""Compression ratio from which a member over `_RATIO_FROM` bytes is a bomb; photographs do not compress at all."""
_RATIO_FROM = 4 * 2**20
_OPEN_ARCHIVES = 4
_CHUNK = 2**20
_END = struct.Struct("<4s4H2LH")
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, OSError, struct.error)


class Archives:
    """Open archives, a few at a time: members come in order, so the same one is asked for again and again."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, zipfile.ZipFile] = OrderedDict()

    def list_members(self, path: bytes, container: str, problems: Problems) -> Iterator[SourceEntry]:
        """The images in an archive, in natural order. What cannot be listed becomes a problem."""
        try:
            archive = self._archive(path)
        except ImageError as error:
            problems.add(container, error.error_type, error.message)
            return
        members = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        if len(members) > _MOST_MEMBERS:
            problems.add(container, ErrorType.TOO_LARGE, f"{len(members):,} members; {_MOST_MEMBERS:,} are allowed")
            return
        for name in sorted(members, key=natural_key):
            info = members[name]
            if refusal := _refusal(info):
                problems.add(member_key(container, name), *refusal)
            elif not any(left_out(part) for part in name.split("/")) and self._is_image(archive, info):
                yield SourceEntry(member_key(container, name), info.file_size, f"{info.file_size}-{info.CRC:08x}")

    @contextmanager
    def open_member(self, path: bytes, member: str, *, max_file_size: int) -> Iterator[OpenedImage]:
        """One member's content, in memory or, when large, in a temporary file."""
        archive = self._archive(path)
        try:
            info = archive.getinfo(member)
        except KeyError:
            raise ImageError(ErrorType.NOT_FOUND, f"{member} is no longer in the archive") from None
        if refusal := _refusal(info):
            raise ImageError(*refusal)
        refuse_too_large(info.file_size, max_file_size)
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, prefix="fpj-member-") as spool:
            self._read(archive, info, spool, max_file_size)
            yield from _as_opened(member, spool, info.file_size)

    def close(self) -> None:
        """Close every archive."""
        while self._open:
            self._open.popitem()[1].close()

    def _archive(self, path: bytes) -> zipfile.ZipFile:
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        try:
            _refuse_huge_directory(path)
            archive = zipfile.ZipFile(os.fsdecode(path))
        except (FileNotFoundError, PermissionError) as error:
            raise image_error_from_os(error, "the archive") from error
        except _DAMAGED as error:
            raise ImageError(ErrorType.CORRUPT_IMAGE, f"not a readable archive: {error}") from error
        self._open[path] = archive
        if len(self._open) > _OPEN_ARCHIVES:
            self._open.popitem(last=False)[1].close()
        return archive

    @staticmethod
    def _is_image(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
        """By extension, else by content; what cannot even be opened is left to fail visibly when it is processed."""
        if extension(info.filename) in IMAGE_EXTENSIONS:
            return True
        with suppress(NotImplementedError, RuntimeError, *_DAMAGED), archive.open(info) as stream:
            return sniff(stream.read(HEAD)) not in (None, "zip")
        return False

    @staticmethod
    def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: IO[bytes], max_file_size: int) -> None:
        size = 0
        try:
            with archive.open(info) as stream:
                while chunk := stream.read(_CHUNK):
                    size += len(chunk)
                    refuse_too_large(size, max_file_size)
                    target.write(chunk)
        except NotImplementedError as error:
            raise ImageError(ErrorType.UNSUPPORTED_FORMAT, f"{info.filename}: {error}") from error
        except (RuntimeError, *_DAMAGED) as error:
            raise ImageError(ErrorType.CORRUPT_IMAGE, f"{info.filename} is damaged in its archive: {error}") from error


def _refusal(info: zipfile.ZipInfo) -> tuple[ErrorType, str] | None:
    """Why a member is not read at all."""
    name = info.filename
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:3] == ":\\":
        return ErrorType.PATH_VIOLATION, "the member's name leads out of the archive"
    if info.flag_bits & 0x1:
        return ErrorType.ACCESS_DENIED, "the member is encrypted"
    if extension(name) in ARCHIVE_EXTENSIONS:
        return ErrorType.UNSUPPORTED_FORMAT, "an archive inside an archive is not opened"
    if info.file_size > _RATIO_FROM and info.file_size > _MOST_RATIO * max(info.compress_size, 1):
        return ErrorType.TOO_LARGE, f"unpacks to {info.file_size:,} bytes from {info.compress_size:,}"
    return None


def _refuse_huge_directory(path: bytes) -> None:
    """Look at the end record before zipfile loads the whole table of contents into memory."""
    with open(path, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(size - _END.size - 2**16, 0))
        tail = stream.read()
    found = tail.rfind(b"PK\x05\x06")
    if found < 0 or len(tail) - found < _END.size:
        return  # not a zip file; zipfile says so in its own words
    directory = _END.unpack_from(tail, found)[5]
    # 0xFFFFFFFF refers to a zip64 record, needed for tables of over 4 GiB or archives of over 4 GiB: in both cases
    # the table can be no larger than the file, and in the second only its real size, stated in that record, counts.
    if directory == 0xFFFFFFFF:
        record = tail.rfind(b"PK\x06\x06")
        directory = struct.unpack_from("<Q", tail, record + 40)[0] if record >= 0 else size
    if directory > _MOST_DIRECTORY:
        raise ImageError(ErrorType.TOO_LARGE, f"the archive's table of contents takes {directory:,} bytes")


def _as_opened(name: str, spool: tempfile.SpooledTemporaryFile[bytes], size: int) -> Iterator[OpenedImage]:
    spool.seek(0)
    if size <= IN_MEMORY:
        yield OpenedImage(name=name, data=spool.read())
        return
    spool.rollover()
    spool.flush()
    yield OpenedImage(name=name, path=b"/proc/self/fd/%d" % spool.fileno())
