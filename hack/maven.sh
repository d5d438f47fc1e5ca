#!/usr/bin/env bash
# maven.sh ARTIFACT SHA256 FOLDER: prints the path of a jar from Maven, fetched once per machine into FOLDER, and only
# if it is the one that is known here. ARTIFACT is group:name:version. Installs Maven where it is missing; without it,
# fails.
set -euo pipefail
shopt -s inherit_errexit

artifact=$1 sha256=$2 cache=$3
plugin=org.apache.maven.plugins:maven-dependency-plugin:3.6.1
IFS=: read -r _ name version <<<"$artifact"
jar=$cache/$name-$version.jar

is_there() { [ -f "$jar" ] && echo "$sha256  $jar" | sha256sum --check --status; }

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock --wait 900 9 # several may ask at once
if ! is_there; then
    if ! command -v mvn >/dev/null; then
        echo "Installing maven (once)" >&2
        if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
            echo "maven: fetching $artifact needs maven: install it first (as root, apt-get does)." >&2
            exit 1
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq >&2
        apt-get install -y -qq --no-install-recommends maven >&2
    fi
    if ! timeout 600 mvn --quiet --batch-mode "$plugin:copy" -Dartifact="$artifact" -DoutputDirectory="$cache" \
        >"$cache/maven.log" 2>&1; then
        tail -n 20 "$cache/maven.log" >&2
        echo "maven: Maven could not fetch $artifact: see above." >&2
        exit 1
    fi
    if ! is_there; then
        echo "maven: what Maven fetched as $artifact is not the file that is known here (SHA-256); it is not used." >&2
        rm -f "$jar"
        exit 1
    fi
fi
echo "$jar"
