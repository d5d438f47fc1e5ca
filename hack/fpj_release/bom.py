"""Bills of materials in CycloneDX: of the Python distribution, as it is locked, and of an image,
as it was built.

Two runs over the same things give the same bytes: the serial number is made from the content, and
there is a time only if SOURCE_DATE_EPOCH gives one.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from uuid import UUID, uuid5

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from fpj_release import ROOT, ReleaseError
from fpj_release.image import Image
from fpj_release.licences import Policy
from fpj_release.locked import Pin, needed
from fpj_release.wheels import Library, Package

# Namespace of the serial numbers: any, but always this.
_SERIALS = UUID("8f1d3f0e-5a52-5c1f-9a77-6f8f6f5b7f11")
_LICENCES = LicenseFactory()


def version() -> str:
    """The version of fpj itself."""
    text = (ROOT / "core" / "fpj_core" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if not match:
        raise ReleaseError("core/fpj_core/__init__.py does not say a version")
    return match.group(1)


def of_distribution(policy: Policy, pins: tuple[Pin, ...], packages: Mapping[str, Package]) -> Bom:
    """Every pin of the lock, for every Python; what only building
    needs has the scope ``excluded``.
    """
    run = needed(pins)
    bom = _bom(_own(ComponentType.APPLICATION, PackageURL("pypi", name="fpj", version=version())))
    for pin in pins:
        package = packages.get(pin.name)
        if package is None:
            raise ReleaseError(f"{pin.name} is not installed: run make setup")
        bom.components.add(_python(policy, pin, package, is_run=pin.name in run))
    _relate(bom, pins)
    return bom


def of_image(
    policy: Policy, pins: tuple[Pin, ...], packages: Mapping[str, Package], image: Image
) -> Bom:
    """What lies in the image. ReleaseError if that is not what the lock says."""
    own = _own(ComponentType.CONTAINER, None)
    own.hashes.add(_sha256(image.digest))
    own.properties.add(Property(name="fpj:architecture", value=image.architecture))
    bom = _bom(own)
    by_name = {(pin.name, pin.version): pin for pin in pins}
    for name, package in packages.items():
        if name == "fpj":
            continue
        pin = by_name.get((name, package.version))
        if pin is None:
            raise ReleaseError(
                f"the image holds {name} {package.version}, which requirements/cluster.txt does not"
            )
        bom.components.add(_python(policy, pin, package, is_run=True))
    if missing := needed(pins) - set(packages):
        raise ReleaseError(f"the image lacks {', '.join(sorted(missing))}")
    for system in _system(image):
        bom.components.add(system)
    _relate(bom, pins)
    return bom


def text(bom: Bom) -> str:
    """As JSON, valid by CycloneDX's schema. ReleaseError if it is not."""
    content = JsonV1Dot6(bom).output_as_string()
    bom.serial_number = uuid5(_SERIALS, hashlib.sha256(content.encode()).hexdigest())
    written: str = JsonV1Dot6(bom).output_as_string(indent=2)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(written):
        raise ReleaseError(f"the bill of materials is not valid: {error}")
    return written + "\n"


def _bom(own: Component) -> Bom:
    bom = Bom(serial_number=UUID(int=0))
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    bom.metadata.timestamp = datetime.fromtimestamp(int(epoch), UTC) if epoch else None
    bom.metadata.component = own
    return bom


def _own(kind: ComponentType, purl: PackageURL | None) -> Component:
    return Component(
        name="fpj",
        type=kind,
        version=version(),
        bom_ref="fpj",
        purl=purl,
        licenses=[_LICENCES.make_with_expression("Apache-2.0")],
    )


def _python(policy: Policy, pin: Pin, package: Package, *, is_run: bool) -> Component:
    """One pin.

    Its hashes are those of all files that may be installed for it, so they stand at its
    distribution.
    """
    purl = PackageURL("pypi", name=pin.name, version=pin.version)
    hashes = [_sha256(digest.removeprefix("sha256:")) for digest in pin.hashes]
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(purl)), hashes=hashes
    )
    known = package.libraries if package.version == pin.version else ()
    return Component(
        name=pin.name,
        version=pin.version,
        bom_ref=str(purl),
        purl=purl,
        scope=ComponentScope.REQUIRED if is_run else ComponentScope.EXCLUDED,
        licenses=[_LICENCES.make_with_expression(policy.licence(package))],
        external_references=[files],
        properties=[Property(name="fpj:marker", value=pin.marker)] if pin.marker else (),
        components=[_library(policy, package, library) for library in known],
    )


def _library(policy: Policy, package: Package, library: Library) -> Component:
    return Component(
        name=library.name,
        version=library.version or None,
        bom_ref=f"{package.name}/{library.name}",
        hashes=[_sha256(library.sha256)] if library.sha256 else (),
        licenses=[_LICENCES.make_with_expression(policy.library_licence(package, library))],
    )


def _system(image: Image) -> Iterable[Component]:
    if image.python:
        cpe = f"cpe:2.3:a:python:python:{image.python}:*:*:*:*:*:*:*"
        yield Component(
            name="python",
            version=image.python,
            bom_ref="python",
            cpe=cpe,
            type=ComponentType.PLATFORM,
        )
    for package in image.debian:
        qualifiers = {"arch": package.architecture, "distro": image.suite}
        purl = PackageURL("deb", "debian", package.name, package.version, qualifiers)
        yield Component(name=package.name, version=package.version, bom_ref=str(purl), purl=purl)


def _relate(bom: Bom, pins: tuple[Pin, ...]) -> None:
    """Who needs whom, as the lock tells.

    What the base brings, and what builds fpj, is needed by fpj itself.
    """
    own = bom.metadata.component
    there = {component.bom_ref.value: component for component in bom.components}
    needs: dict[str, list[Component]] = {"fpj": []}
    for pin in pins:
        component = there.pop(f"pkg:pypi/{pin.name}@{pin.version}", None)
        if component is None:
            continue
        for wanting in pin.wanted_by:
            needs.setdefault("fpj" if wanting.startswith(":") else wanting, []).append(component)
    needs["fpj"] += there.values()
    for component in bom.components:
        bom.register_dependency(
            component, needs.get(component.name, []) if _is_python(component) else []
        )
    if own is not None:
        bom.register_dependency(own, needs["fpj"])


def _is_python(component: Component) -> bool:
    return component.purl is not None and component.purl.type == "pypi"


def _sha256(content: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=content)
