#!/usr/bin/env bash
# Writes what `kubectl apply` installs of a release, two files, with the image that it is to run:
#   hack/release-manifests.sh IMAGE:TAG FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -ne 2 ] || [[ $1 != *:* ]]; then
    sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
image=$1 folder=$2
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' core/fpj_core/__init__.py)

mkdir -p "$folder"
for file in crds/*.yaml; do
    echo ---
    cat "$file"
done >"$folder/fpj-crds.yaml"
sed "s#\bfpj:${version//./\\.}\$#$image#" deploy/operator.yaml >"$folder/fpj-operator.yaml"
