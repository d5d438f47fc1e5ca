#!/usr/bin/env bash
# Builds a Dockerfile with buildah, without Docker and without a registry, and writes the image as a docker-archive:
#   hack/image.sh [--file FILE] [--tag NAME:TAG] [--context DIR] OUTPUT.tar
# The build's BASE is Debian with Python as hack/image-base.sh makes it; with BASE set, that image. Needs root.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
context=$(dirname "$here") file="" tag=localhost/fpj:dev
while [ $# -gt 1 ]; do
    case $1 in
        --file) file=$2 ;;
        --tag) tag=$2 ;;
        --context) context=$2 ;;
        *) break ;;
    esac
    shift 2
done
if [ $# -ne 1 ] || [[ $1 == -* ]]; then
    sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
output=$(realpath "$1")
file=${file:-$context/Dockerfile}

if ! command -v buildah >/dev/null; then
    echo "Building an image needs buildah: run hack/node-packages.sh first, or use Docker." >&2
    exit 1
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/fpj
storage=$cache/images
mkdir -p "$storage"
driver=overlay # but not on top of an overlay, as inside of containers
[ "$(stat --file-system --format=%T "$storage")" != overlayfs ] || driver=vfs
buildah() { command buildah --storage-driver "$driver" --root "$storage/root" --runroot "$storage/run" "$@"; }

exec 9>"$storage/.lock" # buildah's own locks do not keep two builds from removing each other's layers
flock --wait 1800 9

if [ -z "${BASE:-}" ]; then
    tar=$("$here/image-base.sh")
    BASE=localhost/$(basename "$tar" .tar)
    if ! buildah inspect --type image "$BASE" >/dev/null 2>&1; then
        echo "Loading the base image (once)" >&2
        container=$(buildah from scratch)
        buildah add --quiet "$container" "$tar" / >/dev/null
        buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python3 "$container"
        buildah commit --quiet --rm "$container" "$BASE" >/dev/null
    fi
fi

certificates=()
[ ! -d /etc/ssl/certs ] || certificates=(--volume /etc/ssl/certs:/etc/ssl/certs:ro) # for pip, behind a proxy too
echo "Building $tag from $file on $BASE" >&2
buildah bud --quiet --layers --isolation chroot "${certificates[@]}" --build-arg "BASE=$BASE" --tag "$tag" \
    --file "$file" "$context" >&2
rm -f "$output.new"
buildah push --quiet "$tag" "docker-archive:$output.new:$tag" >&2
mv "$output.new" "$output"
echo "Wrote $output ($(du --human-readable "$output" | cut -f1))" >&2
