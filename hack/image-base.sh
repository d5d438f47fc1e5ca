#!/usr/bin/env bash
# Prints the path of a base image's root file system (Debian bookworm with Python 3.11), made once per machine with
# mmdebstrap, some 2 minutes, into a cache outside the checkout. It stands in for python:3.13-slim where no registry can
# be reached.
set -euo pipefail

suite=bookworm
packages=python3,python3-venv,ca-certificates
leave_out=(/usr/share/man /usr/share/locale /usr/share/info /usr/share/lintian /var/lib/apt/lists /var/cache/apt)

cache=${XDG_CACHE_HOME:-$HOME/.cache}/fpj
hash=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-12)
tar=$cache/image-base-$hash.tar

if [ ! -e "$tar" ]; then
    mkdir -p "$cache"
    exec 9>"$cache/.image-base.lock"
    flock --wait 1200 9
fi
if [ ! -e "$tar" ]; then
    if ! command -v mmdebstrap >/dev/null; then
        echo "Making a base image needs mmdebstrap: run hack/node-packages.sh first, or give hack/image.sh a BASE." >&2
        exit 1
    fi
    echo "Making a base image, $suite with $packages (once, some 2 minutes); log: $cache/image-base.log" >&2
    options=(--variant=minbase --include="$packages" --skip=check/empty)
    for path in "${leave_out[@]}"; do
        options+=(--customize-hook="rm -rf \"\$1$path\"/*")
    done
    if ! timeout 1200 mmdebstrap "${options[@]}" "$suite" "$tar.new.tar" >"$cache/image-base.log" 2>&1; then
        tail -n 20 "$cache/image-base.log" >&2
        rm -f "$tar.new.tar"
        echo "Could not make the base image: see above." >&2
        exit 1
    fi
    mv "$tar.new.tar" "$tar"
fi
echo "$tar"
