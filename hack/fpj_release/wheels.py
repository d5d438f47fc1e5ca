"""What an installed Python package says about itself: its version, its licence,
the libraries that it brings.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name

# A library that was copied into a wheel: libjpeg-6dc8d115.so.62.4.0,
# libopenblasp-r0-59ffcd50.3.15.so
_LIBRARY = re.compile(
    r"(?P<name>lib[\w+]+?)(?:-r\d+)?(?:-[0-9a-f]{8})+(?:\.so)?(?:\.(?P<version>[\w.]+?))?(?:\.so)?",
    re.ASCII,
)
_VAGUE = frozenset({"dual license", "unknown", ""})


@dataclass(frozen=True, slots=True)
class Library:
    """A compiled library in a wheel.

    ``version`` is what its file name says: usually that of its interface.
    """

    name: str
    version: str
    sha256: str  # hexadecimal; empty if the wheel does not tell


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package.

    ``declared`` are the licence texts of its metadata, the most exact kind that it has.
    """

    name: str
    version: str
    declared: tuple[str, ...]
    libraries: tuple[Library, ...]


def installed(site_packages: Path) -> dict[str, Package]:
    """All packages of a folder that pip installs into, by name."""
    found = {}
    for distribution in distributions(path=[str(site_packages)]):
        metadata, record = distribution.read_text("METADATA"), distribution.read_text("RECORD")
        if metadata:
            package = parsed(metadata, record or "")
            found[package.name] = package
    return found


def from_files(files: Mapping[str, bytes]) -> dict[str, Package]:
    """The same of files by path, of which those of ``*.dist-info`` count."""
    found = {}
    for path, content in files.items():
        if path.endswith(".dist-info/METADATA"):
            record = files.get(path.removesuffix("METADATA") + "RECORD", b"")
            package = parsed(content.decode(), record.decode())
            found[package.name] = package
    return found


def parsed(metadata: str, record: str) -> Package:
    """From the texts of a package's METADATA and RECORD."""
    message = Parser().parsestr(metadata, headersonly=True)
    libraries = tuple(
        sorted(set(_libraries(record)), key=lambda library: (library.name, library.version))
    )
    return Package(
        canonicalize_name(message["Name"]), message["Version"], _declared(message), libraries
    )


def _declared(message: Message) -> tuple[str, ...]:
    if expression := message.get("License-Expression"):
        return (expression,)
    line = str(message.get("License") or "").strip()
    if line.lower() not in _VAGUE and "\n" not in line:
        return (line,)
    classifiers = [
        text for text in message.get_all("Classifier") or [] if text.startswith("License :: ")
    ]
    return tuple(sorted(text.rsplit(" :: ", 1)[-1] for text in classifiers))


def _libraries(record: str) -> Iterator[Library]:
    for line in record.splitlines():
        path, _, rest = line.partition(",")
        folder, _, name = path.partition("/")
        if not folder.endswith(".libs"):
            continue
        match = _LIBRARY.fullmatch(name)
        digest = rest.partition(",")[0].removeprefix("sha256=")
        sha256 = base64.urlsafe_b64decode(digest + "=" * (-len(digest) % 4)).hex()
        yield Library(
            match["name"] if match else name, (match["version"] or "") if match else "", sha256
        )
