"""Asks for known vulnerabilities of everything that is locked, by ``audit.py REQUIREMENTS...``.

Run by the Python of `make release-tools`. pip-audit counts a package that its service does not know
as a success; here it counts as a missing answer, which is a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_TIMEOUT = 600.0  # seconds for one file: it asks once per package
_NOT_AUDITED = 2


def main(files: list[str]) -> int:
    """Exit code 1 for a vulnerability, 2 if not everything could be asked for,
    or wrong arguments.
    """
    if not files:
        sys.stderr.write(f"{__doc__}")
        return 2
    return max(_audit(Path(file)) for file in files)


def _audit(file: Path) -> int:
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--format", "json"]
    command += ["--disable-pip", "--require-hashes", "--requirement", str(file)]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
        answers = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _unanswered(file, f"no answer within {_TIMEOUT:.0f} s")
    except ValueError:
        return _unanswered(file, (done.stderr.strip() or "no answer").splitlines()[-1])
    return report(file, answers)


def report(file: Path, answers: list[dict[str, Any]]) -> int:
    """Say what pip-audit found out of the packages of one file. Returns the exit code."""
    skipped = [answer for answer in answers if "skip_reason" in answer]
    hit = [answer for answer in answers if answer.get("vulns")]
    for answer in hit:
        for vulnerability in answer["vulns"]:
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            sys.stdout.write(
                f"{answer['name']} {answer['version']}: {vulnerability['id']}, fixed in {fixed}\n"
            )
    if skipped:
        unanswered = _unanswered(
            file, f"{len(skipped)} of {len(answers)} packages: {skipped[0]['skip_reason']}"
        )
        return max(unanswered, 1 if hit else 0)
    sys.stdout.write(f"{file}: {len(answers)} packages, {len(hit)} with known vulnerabilities\n")
    return 1 if hit else 0


def _unanswered(file: Path, why: str) -> int:
    sys.stderr.write(f"{file}: NOT AUDITED: {why}\n")
    sys.stderr.write(
        "The advisories could not be asked from here; the release workflow does it for each"
        " release.\n"
    )
    return _NOT_AUDITED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
