"""Pods that listen, and attempts to connect from within pods."""

from __future__ import annotations

from collections.abc import Iterable

from world import Document

from fpj_cluster import Kube

_LISTEN = """
import selectors, socket, sys

ready = selectors.DefaultSelector()
names = socket.socket(type=socket.SOCK_DGRAM)
names.bind(("", 53))
ready.register(names, selectors.EVENT_READ)
for port in sys.argv[1:]:
    ready.register(socket.create_server(("", int(port))), selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        if key.fileobj is names:
            names.sendto(*names.recvfrom(9))
        else:
            key.fileobj.accept()[0].close()
"""
_CONNECT = """
import socket, sys

for target in sys.argv[1:]:
    protocol, host, port = target.split(":")
    try:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        with socket.socket(type=kind) as connection:
            connection.settimeout(3)
            connection.connect((host, int(port)))
            if protocol == "udp":
                connection.send(b"?")
                connection.recv(9)
        print(target)
    except OSError:
        pass
"""


def listener(name: str, image: str, ports: Iterable[int], labels: dict[str, str]) -> Document:
    """A pod that takes connections on these ports, and answers on the port of name servers."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", _LISTEN, *map(str, ports)],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {
        "runAsNonRoot": True,
        "runAsUser": 65_532,
        "seccompProfile": {"type": "RuntimeDefault"},
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
    }
    spec = {
        "securityContext": security,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }


def reached(kube: Kube, pod: str, targets: Iterable[str]) -> set[str]:
    """Those of the targets (`tcp:ADDRESS:PORT`) to which a pod can connect."""
    return set(kube("exec", pod, "--", "python", "-c", _CONNECT, *targets).split())
