#!/usr/bin/env bash
# Runs the unit and contract tests on every further Python (3.12 to 3.14) that this machine has.
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
    echo "Python $version: unit and contract tests"
    "$venv/bin/pytest" -n auto --dist loadfile -q tests/unit tests/contract
done
