"""Plays the kubelet on a control plane without a node: pods run as real processes of this machine.

Everything else is real: the scheduler binds the pods, the Job controller makes and counts them, the
garbage collector and the eviction API delete them. What a kubelet would do to a container is done
to a process; see `runner`.
"""

from podrunner.api import Api, ApiError
from podrunner.pod import Pod
from podrunner.runner import PodRunner

__all__ = ["Api", "ApiError", "Pod", "PodRunner"]
