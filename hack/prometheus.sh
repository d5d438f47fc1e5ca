#!/usr/bin/env bash
# Builds promtool and prometheus from the Go module in hack/prometheus, once per machine, into a cache outside the
# checkout, and prints the folder that holds them. The tests check alert rules with the one and run the other.
#   hack/prometheus.sh             build what is missing (some 4 minutes on 2 cores)
#   hack/prometheus.sh --no-build  fail where something is missing, instead of building it
# Service discovery other than files and lists is left out, which halves the build; the server has no web page.
set -euo pipefail
shopt -s inherit_errexit

module=$(cd "$(dirname "$0")/prometheus" && pwd)
path=github.com/prometheus/prometheus
version=$(awk -v module="$path" '$1 == module { print $2; exit }' "$module/go.mod")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fpj
root=$cache/prometheus-$version
bin=$root/bin

say() { echo "prometheus: $*" >&2; }

is_there() { [ -x "$bin/promtool" ] && [ -x "$bin/prometheus" ]; }

build() {
    export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off
    local go started=$SECONDS log=$root/build.log stamp="-X github.com/prometheus/common/version.Version=$version"
    go=$("$(dirname "$module")/find-go.sh" "$module")
    say "building promtool and prometheus $version (its output goes to $log)"
    rm -rf "$root/new"
    mkdir -p "$bin" "$root/new"
    if ! (cd "$module" && timeout 3000 "$go" build -trimpath -tags remove_all_sd -ldflags "-s -w $stamp" \
        -o "$root/new/" "$path/cmd/promtool" "$path/cmd/prometheus") >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        say "could not build: see above. It needs the Go module proxy and 3 GB of memory."
        return 1
    fi
    mv "$root"/new/* "$bin/"
    say "built in $((SECONDS - started)) s"
}

if ! is_there; then
    if [ "${1:-}" = --no-build ]; then
        say "not built yet. Run hack/prometheus.sh (once, some 4 minutes)."
        exit 1
    fi
    mkdir -p "$root"
    exec 9>"$root/.lock"
    flock --nonblock 9 || { say "waiting for another build" && flock --wait 3600 9; }
    is_there || build
fi
echo "$bin"
