"""The page of all licences. Fails for one that licences.toml lacks.

Read off the lock of what is released and the metadata of the packages in this very environment.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from fpj_release import CLUSTER, ReleaseError
from fpj_release.licences import Policy, load, problems
from fpj_release.locked import Pin, needed, read
from fpj_release.wheels import Package, installed
from markdown_lines import joined

_HEADER = """<!-- Generated from requirements/cluster.txt by `make licences`. Do not edit. -->

# Licences

fpj is under the [Apache License 2.0](../LICENSE). Below is everything that is installed with it, as the packages' own
metadata and licence files say; a licence that no family names fails `make lint`, and so does a compiled library that
appears in a wheel unasked. The base image's Debian packages are in the image's bill of materials
([SECURITY.md](../SECURITY.md#checking-what-you-install)); `/usr/share/doc/*/copyright` in the image has their licences.

Never part of a release: what only tests use. Among it is the MongoDB server that the tests build, whose code is under
GPL-2.0 and which fpj talks to over a socket.

## What is allowed, and why
"""


def page(policy: Policy, pins: tuple[Pin, ...], packages: dict[str, Package]) -> str:
    """The page, as Markdown."""
    run = needed(pins)
    families = [
        f"- **{family.name}** ({', '.join(family.licences)}): {family.why}"
        for family in policy.families
    ]
    lines = [_HEADER, *families]
    lines += [
        "",
        "## Packages",
        "",
        *_table(policy, [pin for pin in pins if pin.name in run], packages),
    ]
    lines += ["", "## Only while it is built", "", "The image has none of these.", ""]
    lines += _table(policy, [pin for pin in pins if pin.name not in run], packages)
    lines += [
        "",
        "## Compiled libraries in the packages",
        "",
        "| Package | Library | Licence |",
        "|---|---|---|",
    ]
    for name, libraries in sorted(policy.library.items()):
        lines += [
            f"| {name} | {library} | {licence} |" for library, licence in sorted(libraries.items())
        ]
    return joined("\n".join([*lines, ""]))


def _table(policy: Policy, pins: Iterable[Pin], packages: dict[str, Package]) -> list[str]:
    rows = ["| Package | Version | Licence |", "|---|---|---|"]
    for pin in pins:
        version = f"{pin.version} ({pin.marker})" if pin.marker else pin.version
        rows.append(f"| {pin.name} | {version} | {policy.licence(packages[pin.name])} |")
    return rows


def files() -> dict[str, str]:
    """File name to text.

    Raises:
        ReleaseError: a licence is not allowed.
    """
    policy, pins = load(), read(CLUSTER)
    packages = installed(Path(yaml.__file__).parents[1])
    if found := problems(policy, pins, packages):
        raise ReleaseError("\n".join(found))
    return {"licences.md": page(policy, pins, packages)}
