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
compile run.txt --extra worker --group build
compile test.txt --extra worker --group build --group test --constraint requirements/run.txt
