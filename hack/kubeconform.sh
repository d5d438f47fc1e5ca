#!/usr/bin/env bash
# Prints the path of kubeconform (hack/kubeconform), building it once per version (some seconds on 2 cores).
set -euo pipefail
shopt -s inherit_errexit

hack=$(cd "$(dirname "$0")" && pwd)
package=github.com/yannh/kubeconform
version=$(awk -v package="$package" '$1 == package { print $2; exit }' "$hack/kubeconform/go.mod")
exec "$hack/go-build.sh" kubeconform "kubeconform-$version" kubeconform "$package/cmd/kubeconform"
