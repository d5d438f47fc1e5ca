"""Archives, well made and ill."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


def packed(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return target.getvalue()


def with_header(
    data: bytes,
    *,
    flags: int | None = None,
    method: int | None = None,
    version: int | None = None,
    size: int | None = None,
    packed_size: int | None = None,
    crc: int | None = None,
) -> bytes:
    """The first member's headers changed, in the table of contents and before its content alike."""
    changed = bytearray(data)
    for signature, start in ((b"PK\x01\x02", 2), (b"PK\x03\x04", 0)):
        header = changed.index(signature) + start
        for offset, form, value in (
            (4, "<H", version),
            (6, "<H", flags),
            (8, "<H", method),
            (14, "<L", crc),
            (18, "<L", packed_size),
            (22, "<L", size),
        ):
            if value is not None:
                struct.pack_into(form, changed, header + offset, value)
    return bytes(changed)


def end_record(directory: int) -> bytes:
    """A table of contents of so many bytes is said to stand before this."""
    return struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, directory, 0, 0)


def end_records_64(directory: int, says: int) -> bytes:
    """The same where the newer record counts; the older one says something else."""
    newer = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, directory, 0)
    return newer + struct.pack("<4sLQL", b"PK\x06\x07", 0, directory, 1) + end_record(says)
