#!/usr/bin/env bash
# Prints the path of the MongoDB-compatible server that the tests run against, building it once per machine
# (some 8 minutes on 2 cores) into a cache outside the checkout. It is GPL-2.0: a test server, never part of fpj.
# With FPJ_TEST_MONGODB_URI set, the tests use that server, and nothing is built.
set -euo pipefail

version=0.5.3-beta.193
root=${XDG_CACHE_HOME:-$HOME/.cache}/fpj/secantus-mdb-$version
binary=$root/bin/secantusd-rs

if [ -n "${FPJ_TEST_MONGODB_URI:-}" ]; then
    echo "using $FPJ_TEST_MONGODB_URI" >&2
    exit 0
fi

build() {
    if ! command -v cargo >/dev/null; then
        echo "The store tests need a MongoDB server. Install Rust (cargo) so that one can be built, or set" >&2
        echo "FPJ_TEST_MONGODB_URI to a server of yours." >&2
        exit 1
    fi
    local missing=()
    for tool in cmake clang; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
            apt-get update -qq >&2
            apt-get install -y -qq "${missing[@]}" >&2
        else
            echo "Building the test server needs ${missing[*]}: install them first." >&2
            exit 1
        fi
    fi
    echo "Building the test server (once, some 8 minutes on 2 cores) …" >&2
    timeout 2400 cargo install secantus-mdb --version "$version" --locked --ignore-rust-version --quiet --root "$root" >&2
}

if [ ! -x "$binary" ]; then
    mkdir -p "$root"
    exec 9>"$root/.lock"
    flock --wait 2400 9
    [ -x "$binary" ] || build
fi
echo "$binary"
