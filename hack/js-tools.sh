#!/usr/bin/env bash
# Prints the folder of the tools that check the dashboard's JavaScript: Biome (lint, format) and tsc (types), from npm, as
# hack/js/package-lock.json pins them by checksum. Installed once per lock into a cache outside the checkout.
set -euo pipefail
shopt -s inherit_errexit

source=$(cd "$(dirname "$0")/js" && pwd)
key=$(sha256sum "$source/package-lock.json" | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fpj/js-$key

mkdir -p "$(dirname "$cache")"
exec 9>"$cache.lock"
flock --wait 600 9 # several checks may ask at once
if [ ! -e "$cache/.complete" ]; then
    if ! command -v npm >/dev/null; then
        if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
            echo "js-tools: checking the dashboard's JavaScript needs npm: install Node.js 20 or newer first." >&2
            exit 1
        fi
        echo "Installing npm (once)" >&2
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq >&2
        apt-get install -y -qq --no-install-recommends nodejs npm >&2
    fi
    echo "Installing the tools that check JavaScript (once)" >&2
    rm -rf "$cache"
    mkdir -p "$cache"
    cp "$source/package.json" "$source/package-lock.json" "$source/.npmrc" "$cache/"
    if ! (cd "$cache" && timeout 300 npm ci >npm.log 2>&1); then
        tail -n 20 "$cache/npm.log" >&2
        echo "js-tools: npm could not install what hack/js/package-lock.json pins: see above." >&2
        exit 1
    fi
    touch "$cache/.complete"
fi
echo "$cache/node_modules/.bin"
