#!/usr/bin/env bash
# Builds Kueue's controller from the Go module in hack/kueue, once per machine (some 4 minutes on 2 cores), into a cache
# outside the checkout, puts its CRDs, roles and webhook configurations beside it, and prints the folder.
#   hack/kueue.sh             build it where it is missing
#   hack/kueue.sh --no-build  fail instead
set -euo pipefail
shopt -s inherit_errexit

module=$(cd "$(dirname "$0")/kueue" && pwd)
version=$(awk '$1 == "sigs.k8s.io/kueue" { print $2; exit }' "$module/go.mod")
root=${XDG_CACHE_HOME:-$HOME/.cache}/fpj/kueue-$version
say() { echo "kueue: $*" >&2; }

if [ ! -x "$root/kueue" ]; then
    if [ "${1:-}" = --no-build ]; then
        say "not built yet. Run hack/kueue.sh (once, some 4 minutes)."
        exit 1
    fi
    mkdir -p "$root"
    exec 9>"$root/.lock"
    flock --wait 1800 9
    if [ ! -x "$root/kueue" ]; then
        go=$("$module/../find-go.sh" "$module")
        started=$SECONDS
        say "building $version (its output goes to $root/build.log)"
        cd "$module"
        export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off
        if ! timeout 1800 "$go" build -trimpath -ldflags '-s -w' -o "$root/kueue.new" sigs.k8s.io/kueue/cmd/kueue >"$root/build.log" 2>&1; then
            tail -n 20 "$root/build.log" >&2
            say "could not build it: see above"
            exit 1
        fi
        config=$("$go" list -m -f '{{.Dir}}' sigs.k8s.io/kueue)/config/components
        rm -rf "$root/config"
        mkdir -p "$root/config"
        cp "$config"/crd/bases/*.yaml "$root/config/"
        cp "$config/webhook/manifests.yaml" "$root/webhooks.yaml"
        chmod -R u+w "$root/config" "$root/webhooks.yaml"
        mv "$root/kueue.new" "$root/kueue"
        say "built in $((SECONDS - started)) s"
    fi
fi
echo "$root"
