#!/usr/bin/env bash
# Makes a kind cluster with this project's image and resources in it. Needs Docker, kind and kubectl.
# One that exists already gets the image and the resources again.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in docker kind kubectl; do
    if ! command -v "$tool" >/dev/null; then
        echo "kind-up needs docker, kind and kubectl, and there is no $tool. \`make cluster-up\` needs none of them." >&2
        exit 1
    fi
done

image=localhost/fpj:dev
docker build --tag "$image" .
if ! kind get clusters | grep --quiet --line-regexp fpj; then
    kind create cluster --config hack/kind/cluster.yaml --wait 120s
fi
kind load docker-image "$image" --name fpj
kubectl --context kind-fpj apply --server-side --filename crds/
kubectl --context kind-fpj wait --for=condition=Established --timeout=60s --filename crds/
echo "Ready: kubectl --context kind-fpj get nodes. End it with: kind delete cluster --name fpj"
