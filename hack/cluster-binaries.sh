#!/usr/bin/env bash
# Builds the programs of a test cluster from the Go modules in hack/cluster, each once per machine, into a cache outside
# the checkout, and prints the folder that holds them.
#   hack/cluster-binaries.sh                      all of them (some 15 minutes on 2 cores)
#   hack/cluster-binaries.sh etcd kube-apiserver  only these
#   hack/cluster-binaries.sh --no-build ...       fails where one is missing, instead of building it
# What the folder KUBEBUILDER_ASSETS holds is not built. Versions stand in the modules' go.mod.
set -euo pipefail
shopt -s inherit_errexit

modules=$(cd "$(dirname "$0")/cluster" && pwd)
declare -A package=(
    [etcd]=go.etcd.io/etcd/server/v3
    [helm]=helm.sh/helm/v4/cmd/helm
    [pause]=.
)
kubernetes=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)
for name in "${kubernetes[@]}"; do
    package[$name]=k8s.io/kubernetes/cmd/$name
done

version_of() { # module folder, module path
    awk -v module="$2" '$1 == "require" { $1 = ""; $0 = $0 } $1 == module { print $2; exit }' "$modules/$1/go.mod"
}
kubernetes_version=$(version_of kubernetes k8s.io/kubernetes)
etcd_version=$(version_of etcd go.etcd.io/etcd/server/v3)
helm_version=$(version_of helm helm.sh/helm/v4)

cache=${XDG_CACHE_HOME:-$HOME/.cache}/fpj
root=$cache/cluster-kubernetes-$kubernetes_version-etcd-$etcd_version-helm-$helm_version
bin=$root/bin

say() { echo "cluster-binaries: $*" >&2; }

is_there() { [ -x "$bin/$1" ] || [ -x "${KUBEBUILDER_ASSETS:-/nonexistent}/$1" ]; }

missing() { # names: those that are not built yet
    local name
    for name in "$@"; do
        is_there "$name" || echo "$name"
    done
}

build() { # module folder, linker flags, names: one `go build`, so that what they share is compiled once
    local module=$1 flags=$2 log=$root/build-$1.log started=$SECONDS
    shift 2
    say "building $* (go build in hack/cluster/$module; its output goes to $log)"
    local packages=() name
    for name in "$@"; do
        packages+=("${package[$name]}")
    done
    # A single package named server/v3 would be written as "v3": give that one its name.
    local target=$root/new/
    [ $# -eq 1 ] && target=$root/new/$1
    if ! (cd "$modules/$module" && timeout 3000 "$go" build -trimpath -ldflags "-s -w $flags" -o "$target" "${packages[@]}") \
        >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        say "could not build $*: see above. It needs the Go module proxy, 4 GB of memory and 5 GB of disk."
        return 1
    fi
    mv "$root"/new/* "$bin/"
    say "built $* in $((SECONDS - started)) s"
}

version_flags() { # what Kubernetes' own build sets, else the programs call themselves v0.0.0
    local part=${kubernetes_version#v} prefix='-X k8s.io/component-base/version'
    echo "$prefix.gitVersion=$kubernetes_version $prefix.gitMajor=${part%%.*} $prefix.gitMinor=$(cut -d. -f2 <<<"$part")" \
        "$prefix.gitTreeState=clean"
}

build_all() { # names
    export CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off
    go=$("$(dirname "$modules")/find-go.sh" "$modules/helm")
    rm -rf "$root/new"
    mkdir -p "$bin" "$root/new"
    local name of_kubernetes=()
    for name in "$@"; do
        case $name in
            etcd) build etcd "" etcd ;;
            pause) build pause "" pause ;;
            helm) ;;
            *) of_kubernetes+=("$name") ;;
        esac
    done
    [ ${#of_kubernetes[@]} -eq 0 ] || build kubernetes "$(version_flags)" "${of_kubernetes[@]}"
    for name in "$@"; do # the one that a cluster can start without comes last
        [ "$name" != helm ] || build helm "-X helm.sh/helm/v4/internal/version.version=$helm_version" helm
    done
}

may_build=yes
[ "${1:-}" != --no-build ] || { may_build=no && shift; }
[ $# -gt 0 ] || set -- etcd pause "${kubernetes[@]}" helm
for name in "$@"; do
    if [ -z "${package[$name]:-}" ]; then
        say "no such program: $name (there are ${!package[*]})"
        exit 2
    fi
done
if [ -n "$(missing "$@")" ]; then
    if [ "$may_build" = no ]; then
        say "not built yet: $(missing "$@" | xargs). Run hack/cluster-binaries.sh (once, some 15 minutes)."
        exit 1
    fi
    mkdir -p "$root"
    exec 9>"$root/.lock"
    flock --nonblock 9 || { say "waiting for another build" && flock --wait 3600 9; }
    mapfile -t names < <(missing "$@")
    [ ${#names[@]} -eq 0 ] || build_all "${names[@]}"
fi
echo "$bin"
