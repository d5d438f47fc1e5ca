"""fpj on a real node, with toxiproxy in each of its connections."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from e2e.installation import SYSTEM, Installation
from toxiproxy import Toxiproxy
from typing_extensions import override

from fpj_cluster.layout import API_SERVICE_ADDRESS, NODE_ADDRESS, POD_RANGE

_WORKER_API = "worker-api"


class Proxied(Installation):
    """Operators and workers have a way of their own to the store and to the API server each."""

    @override
    def _start_operator(self, started: ExitStack) -> None:
        self._toxiproxy = started.enter_context(Toxiproxy())
        store = f"{NODE_ADDRESS}:{self.database.port}"
        api = self._cluster.server.removeprefix("https://")
        upstreams = {
            "operator-store": store,
            "worker-store": store,
            "operator-api": api,
            _WORKER_API: api,
        }
        self.ports = {
            name: self._toxiproxy.proxy(name, NODE_ADDRESS, upstream)
            for name, upstream in upstreams.items()
        }
        super()._start_operator(started)

    @override
    def store_url(self, namespace: str) -> str:
        """Through a proxy; and not on to the address that the server gives for itself."""
        port = self.ports["operator-store" if namespace == SYSTEM else "worker-store"]
        return f"mongodb://{NODE_ADDRESS}:{port}/fpj?directConnection=true"

    @property
    @override
    def environment(self) -> dict[str, str]:
        api = {
            "KUBERNETES_SERVICE_HOST": NODE_ADDRESS,
            "KUBERNETES_SERVICE_PORT": str(self.ports["operator-api"]),
        }
        return super().environment | api

    @contextmanager
    def disturbed(self, connection: str, toxic: str) -> Iterator[None]:
        """A toxic in a connection meanwhile, what is open of it included."""
        with ExitStack() as stack:
            if connection == _WORKER_API:
                stack.enter_context(self._detour())
            stack.enter_context(self._toxiproxy.disturbed(connection, toxic))
            yield

    @contextmanager
    def _detour(self) -> Iterator[None]:
        """New connections of pods to the API server pass the proxy:
        workers make one for each report.

        Their environment says where the API server is, and no job may change that.
        """
        service = ["-s", POD_RANGE, "-d", API_SERVICE_ADDRESS, "-p", "tcp", "--dport", "443"]
        target = ["-j", "DNAT", "--to-destination", f"{NODE_ADDRESS}:{self.ports[_WORKER_API]}"]
        # Goes with the node.
        rule = ["PREROUTING", *service, "-m", "comment", "--comment", "fpj-node", *target]
        _iptables("-I", *rule)
        try:
            yield
        finally:
            _iptables("-D", *rule)


def _iptables(change: str, *rule: str) -> None:
    subprocess.run(["iptables", "-w", "-t", "nat", change, *rule], check=True, timeout=20)
