"""A real Kubernetes cluster made of plain processes: for development,
and for the integration and e2e tests.

The control plane (etcd, API server, controller manager, scheduler) needs no root, and any number of
them may run at once. A node (containerd, kubelet, kube-proxy) needs root, and a machine has one at
most. See docs/development/cluster.md.
"""

from fpj_cluster.cluster import Cluster
from fpj_cluster.errors import ClusterError
from fpj_cluster.kube import Kube, KubectlError
from fpj_cluster.layout import default_directory

__all__ = ["Cluster", "ClusterError", "Kube", "KubectlError", "default_directory"]
