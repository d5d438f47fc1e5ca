#!/usr/bin/env bash
# Prints the path of kubeconform, building it from the Go module in hack/kubeconform once per version (some seconds on
# 2 cores) into a cache outside the checkout.
set -euo pipefail
shopt -s inherit_errexit

module=$(cd "$(dirname "$0")/kubeconform" && pwd)
version=$(awk '$1 == "github.com/yannh/kubeconform" { print $2; exit }' "$module/go.mod")
root=${XDG_CACHE_HOME:-$HOME/.cache}/fpj/kubeconform-$version
binary=$root/kubeconform

if [ ! -x "$binary" ]; then
    mkdir -p "$root"
    exec 9>"$root/.lock"
    flock --wait 900 9
    if [ ! -x "$binary" ]; then
        go=$("$module/../find-go.sh" "$module")
        echo "kubeconform: building $version (once)" >&2
        (cd "$module" && CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off timeout 600 "$go" build -trimpath -ldflags '-s -w' -o "$binary.new" github.com/yannh/kubeconform/cmd/kubeconform) >&2
        mv "$binary.new" "$binary"
    fi
fi
echo "$binary"
