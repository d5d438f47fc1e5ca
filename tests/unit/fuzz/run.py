"""Fuzz targets, guided by coverage (atheris). Run by `make fuzz`.

    run.py [TARGET…] [--seconds N]

What it finds lies in build/fuzz/<target>/. A crash goes with its fix into seeds/<target>/, and
`test_fuzz` replays it. The corpus stays in build/fuzz/<target>/corpus: the next run goes on from
there. Ctrl-C ends a run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
ROOT = TESTS.parent
FOUND = ROOT / "build" / "fuzz"
SECONDS_FOR_ONE, MEGABYTES = 20, 3_000
"""What one input may take; beyond that it counts as found."""


def main() -> int:
    """The exit code: 1 if anything was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default: 600)")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    given = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    if given.inside:
        fuzz(given.inside, given.seconds)
    from unit.fuzz.targets import TARGETS

    if unknown := set(given.targets) - set(TARGETS):
        parser.error(
            f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"
        )
    failed = [name for name in given.targets or TARGETS if not passes(name, given.seconds)]
    print(f"found something: {', '.join(failed)}; see {FOUND}" if failed else "nothing found")
    return 1 if failed else 0


def passes(name: str, seconds: int) -> bool:
    """In a process of its own: what crashes a decoder ends it."""
    print(f"{name}: {seconds} s", flush=True)
    call = [sys.executable, __file__, "--inside", name, "--seconds", str(seconds)]
    return subprocess.run(call, check=False, cwd=ROOT).returncode == 0


def fuzz(name: str, seconds: int) -> None:
    """Does not return."""
    import atheris

    with atheris.instrument_imports(include=["fpj_core", "fpj_worker", "fpj_api", "zipfile"]):
        from unit.fuzz.targets import TARGETS, seeds
    corpus = FOUND / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    kept = Path(__file__).parent / "seeds" / name
    options = (
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_FOR_ONE}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-artifact_prefix={FOUND / name}/",
        "-print_final_stats=1",
    )
    atheris.Setup(
        [sys.argv[0], *options, str(corpus), *([str(kept)] if kept.is_dir() else [])], TARGETS[name]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
