"""Bills of materials, in CycloneDX JSON. Run by the Python of `make release-tools`.

sbom.py distribution SITE-PACKAGES OUTPUT   of the Python distribution; SITE-PACKAGES has the locked
packages sbom.py image ARCHIVE OUTPUT                of an image, from its archive
"""

from __future__ import annotations

import sys
from pathlib import Path

from fpj_release import CLUSTER, ReleaseError
from fpj_release.bom import of_distribution, of_image, text
from fpj_release.image import read as read_image
from fpj_release.licences import load
from fpj_release.locked import read
from fpj_release.wheels import from_files, installed


def main(arguments: list[str]) -> int:
    """Exit code 2 for wrong arguments, 1 if a bill cannot be made."""
    if len(arguments) != 3 or arguments[0] not in ("distribution", "image"):
        sys.stderr.write(f"{__doc__}")
        return 2
    source, output = Path(arguments[1]), Path(arguments[2])
    policy, pins = load(), read(CLUSTER)
    try:
        if arguments[0] == "image":
            image = read_image(source)
            bom = of_image(policy, pins, from_files(image.files), image)
        else:
            bom = of_distribution(policy, pins, installed(source))
        content = text(bom)
    except ReleaseError as error:
        sys.stderr.write(f"sbom: {error}\n")
        return 1
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(content, encoding="utf-8")
    sys.stdout.write(f"{output}: {len(bom.components)} components\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
