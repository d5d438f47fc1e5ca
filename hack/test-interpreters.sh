#!/usr/bin/env bash
# Runs the unit and contract tests on every further Python (3.12 to 3.14) that this machine has. On the newest they all
# run, and are measured: which branches of the product they take. On those between, the ones that decode images and
# start processes are left out, as by `make unit`.
set -euo pipefail
cd "$(dirname "$0")/.."

main=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

find_python() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        if "$candidate" -c 'import venv, ssl, sqlite3, ctypes' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

fast=(-m "not slow" --ignore tests/unit/engine --ignore tests/unit/pool --ignore tests/unit/worker_pod
    --ignore tests/unit/fuzz)

test_on() {
    echo "Python $1: unit and contract tests"
    ".venv-$1/bin/pytest" -n auto --dist loadfile -q "${@:2}" tests/unit tests/contract
}

cover_on() {
    local bin=.venv-$1/bin
    echo "Python $1: unit and contract tests, with branch coverage"
    "$bin/coverage" erase
    # Each process of pytest's is measured by itself; a measured one takes twice as long.
    "$bin/coverage" run -m pytest -n auto --dist loadfile -q -o timeout=240 tests/unit tests/contract
    "$bin/coverage" combine --quiet
    "$bin/coverage" report --sort=-cover | tail -n 25
}

newest=""
for version in 3.12 3.13 3.14; do
    [ "$version" = "$main" ] && continue
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        echo "Python $version: not on this machine, not tested"
        continue
    fi
    venv=.venv-$version
    if [ ! -e "$venv/.test" ] || [ requirements/test.txt -nt "$venv/.test" ] || [ pyproject.toml -nt "$venv/.test" ]; then
        echo "Python $version: installing into $venv"
        "$python" -m venv "$venv"
        "$venv/bin/python" -m pip install --quiet --require-hashes -r requirements/test.txt
        "$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
        touch "$venv/.test"
    fi
    [ -z "$newest" ] || test_on "$newest" "${fast[@]}"
    newest=$version
done
if [ -n "$newest" ]; then
    cover_on "$newest"
else
    echo "No further Python is on this machine: make coverage reports which branches the tests take"
fi
