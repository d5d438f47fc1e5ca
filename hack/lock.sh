#!/usr/bin/env bash
# Resolves pyproject.toml into requirement files with hashes, one for every Python from 3.11 on.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
    local output=$1
    shift
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --custom-compile-command 'make lock' --output-file "requirements/$output" pyproject.toml "$@"
}
mkdir -p requirements
# The tests' set first, since it must satisfy most; what runs in production is then tested in those very versions.
compile test.txt --extra operator --extra api --extra tracing --group build --group test
compile cluster.txt --extra operator --extra api --extra tracing --group build --constraint requirements/test.txt
compile run.txt --group build --constraint requirements/test.txt
compile fuzz.txt --extra api --group build --group fuzz --constraint requirements/test.txt
.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --custom-compile-command 'make lock' --output-file requirements/release.txt --group release
