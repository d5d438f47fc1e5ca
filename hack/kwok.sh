#!/usr/bin/env bash
# Prints the path of kwok (hack/kwok), building it once per version (some 80 s on 2 cores). It plays thousands of
# kubelets at once: `op-kwok` of the benchmarks runs a job of 10,000 pods without a container.
set -euo pipefail
shopt -s inherit_errexit

hack=$(cd "$(dirname "$0")" && pwd)
package=sigs.k8s.io/kwok
version=$(awk -v package="$package" '$1 == package { print $2; exit }' "$hack/kwok/go.mod")
exec "$hack/go-build.sh" kwok "kwok-$version" kwok "$package/cmd/kwok"
