"""What a file is, by its first bytes."""

from __future__ import annotations

import io
import zipfile

import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fpj_core.sources.sniff import HEAD, sniff

pillow_heif.register_heif_opener()


@pytest.mark.parametrize(
    ("image_format", "name"),
    [
        ("JPEG", "jpeg"),
        ("PNG", "png"),
        ("GIF", "gif"),
        ("TIFF", "tiff"),
        ("BMP", "bmp"),
        ("WEBP", "webp"),
        ("AVIF", "avif"),
        ("HEIF", "heic"),
        ("JPEG2000", "jp2"),
        ("ICO", "ico"),
    ],
)
def test_real_files(image_format: str, name: str) -> None:
    target = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(target, image_format)
    assert sniff(target.getvalue()[:HEAD]) == name


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"II+\0\x08\0\0\0", "tiff"),
        (b"MM\0*", "tiff"),
        (b"MM\0+", "tiff"),
        (b"\xff\x0a", "jxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "jxl"),
        (b"\xffO\xffQ", "jp2"),
        (b"8BPS\0\1", "psd"),
        (b"v/1\x01", "exr"),
        (b"#?RADIANCE\n", "hdr"),
        (b"IIRO", "raw"),
        (b"FUJIFILMCCD-RAW ", "raw"),
        (b"\0\0\0\x18ftypcrx ", "raw"),
        (b"\0\0\0\x1cftypavis\0\0\0\0", "avif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "avif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x1cftypmsf1\0\0\0\0avis", "avif"),
        (b"\0\0\0\x18ftypheix\0\0\0\0", "heic"),
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
    ],
)
def test_rarer_heads(head: bytes, name: str) -> None:
    assert sniff(head) == name


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff\xd8",
        b"hello, I am text",
        b"BM25 ranks texts by the words they share",
        b"BM" + bytes(30),
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"RIFF",
        b"\0\0\0\x20ftypisom\0\0\0\0isomavc1mp41",
        b"\0\0\0\x14ftypM4A ",
        b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"II*",
        bytes(HEAD),
    ],
)
def test_what_is_no_image(head: bytes) -> None:
    assert sniff(head) is None


def test_zip_files_are_told() -> None:
    for content in ({}, {"a": "b"}):
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            for name, text in content.items():
                archive.writestr(name, text)
        assert sniff(target.getvalue()[:HEAD]) == "zip"


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_no_bytes_trouble_it(head: bytes) -> None:
    assert sniff(head) is None or isinstance(sniff(head), str)
