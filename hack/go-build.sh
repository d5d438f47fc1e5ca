#!/usr/bin/env bash
# Prints the path of a program of one of the Go modules here, building it where it is missing, into a cache outside the
# checkout. The folder's name says of which version it is.
#   hack/go-build.sh MODULE FOLDER PROGRAM [PACKAGE]
set -euo pipefail
shopt -s inherit_errexit

module=$(cd "$(dirname "$0")/$1" && pwd)
root=${XDG_CACHE_HOME:-$HOME/.cache}/fpj/$2
binary=$root/$3

if [ ! -x "$binary" ]; then
    mkdir -p "$root"
    exec 9>"$root/.lock"
    flock --wait 900 9
    if [ ! -x "$binary" ]; then
        go=$("$module/../find-go.sh" "$module")
        echo "go-build: building $2 (once)" >&2
        (cd "$module" && CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off timeout 600 "$go" build -trimpath -ldflags '-s -w' -o "$binary.new" "${4:-.}") >&2
        mv "$binary.new" "$binary"
    fi
fi
echo "$binary"
