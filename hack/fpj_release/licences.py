"""Which licence each package and each library in it has,
and whether hack/fpj_release/licences.toml allows it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from fpj_release import ReleaseError
from fpj_release.locked import Pin
from fpj_release.wheels import Library, Package

FILE = Path(__file__).parent / "licences.toml"


@dataclass(frozen=True, slots=True)
class Family:
    """Licences that are fine for one reason.

    With ``only``, fine in libraries of these names alone.
    """

    name: str
    licences: tuple[str, ...]
    why: str
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What hack/fpj_release/licences.toml says; its comments tell what the tables are."""

    families: tuple[Family, ...]
    declared: Mapping[str, str]
    package: Mapping[str, str]
    library: Mapping[str, Mapping[str, str]]

    def licence(self, package: Package) -> str:
        """An SPDX expression. ReleaseError if the package does not tell and the policy neither."""
        if given := self.package.get(package.name):
            return given
        if len(package.declared) != 1:
            declared = ", ".join(package.declared) or "no licence"
            raise ReleaseError(
                f"{package.name} {package.version} says {declared}: write what it is under"
                " [package]"
            )
        try:
            return canonicalize_license_expression(
                self.declared.get(package.declared[0], package.declared[0])
            )
        except InvalidLicenseExpression as error:
            raise ReleaseError(
                f"{package.name} {package.version}: {error}: write what it is under [declared]"
            ) from None

    def library_licence(self, package: Package, library: Library) -> str:
        """An SPDX expression. ReleaseError for a library that is not in the policy."""
        if given := self.library.get(package.name, {}).get(library.name):
            return given
        raise ReleaseError(
            f"{package.name} {package.version} brings {library.name}: add it to"
            f" [library.{package.name}]"
        )

    def family(self, licence: str, name: str) -> Family | None:
        """The family of a single licence, for the package or library of that name."""
        for family in self.families:
            if licence in family.licences and (not family.only or name in family.only):
                return family
        return None

    def allows(self, expression: str, name: str) -> bool:
        """Whether one alternative of an SPDX expression is allowed in full.

        ReleaseError if it has parentheses.
        """
        if "(" in expression:
            raise ReleaseError(f"{name}: write {expression!r} without parentheses under [package]")
        alternatives = (alternative.split(" AND ") for alternative in expression.split(" OR "))
        return any(
            all(self.family(part, name) for part in alternative) for alternative in alternatives
        )


def load(path: Path = FILE) -> Policy:
    """The policy of a file."""
    document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    families = tuple(
        Family(item["name"], tuple(item["licences"]), item["why"], tuple(item.get("only", ())))
        for item in document["family"]
    )
    return Policy(families, document["declared"], document["package"], document["library"])


def problems(policy: Policy, pins: tuple[Pin, ...], packages: Mapping[str, Package]) -> list[str]:
    """What stands against releasing the pinned packages, one line each."""
    names = {pin.name for pin in pins}
    found = [
        f"{name} is not in the lock: take it out of [package]"
        for name in sorted(set(policy.package) - names)
    ]
    found += [
        f"{name} is not in the lock: take out [library.{name}]"
        for name in sorted(set(policy.library) - names)
    ]
    for name in sorted(names):
        if name not in packages:
            found.append(f"{name} is not installed: run make setup")
            continue
        found += _of_package(policy, packages[name])
    return found


def _of_package(policy: Policy, package: Package) -> Iterator[str]:
    try:
        licences = [(package.name, policy.licence(package))]
        licences += [
            (library.name, policy.library_licence(package, library))
            for library in package.libraries
        ]
        for name, licence in licences:
            if not policy.allows(licence, name):
                yield (
                    f"{name} in {package.name} {package.version} is under {licence}, which no"
                    " family allows"
                )
    except ReleaseError as error:
        yield str(error)
