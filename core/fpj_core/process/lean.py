"""Keeps what kopf and the Kubernetes client load, but nothing here uses, out of memory.

To be imported before them.

Measured on the operator with CPython 3.11, in resident megabytes: the client's synchronous half 8,
dynamic clients, streams and watches of its other half 1.7, a web server for kopf's webhooks 1.9,
two lists of certificate authorities 1.5. Whoever does use one of them gets an error at once, or,
for the authorities, has to name his own.
"""

from __future__ import annotations

import importlib.util
import ssl
import sys
from types import ModuleType


def leave_out_clients() -> None:
    """Stand in for the packages `kubernetes` and `kubernetes.aio`,
    so that only the parts asked for are imported.

    Importing `kubernetes.aio` runs the ``__init__`` of both, and kopf imports `kubernetes.client`
    for objects that are never handed to it. Nothing happens if `kubernetes` is loaded already.
    """
    if "kubernetes" in sys.modules:
        return
    for name in ("kubernetes", "kubernetes.aio"):
        found = importlib.util.find_spec(name)
        if found is None or found.submodule_search_locations is None:
            return
        package = ModuleType(name)
        package.__path__ = list(found.submodule_search_locations)
        package.__spec__ = found
        sys.modules[name] = package
    sys.modules["kubernetes.client"] = None  # type: ignore[assignment]  # so importing it is an ImportError


def leave_out_web_server() -> None:
    """Stand in for `aiohttp.web`, of which kopf needs two names for annotations unless it serves
    webhooks.
    """
    if "aiohttp.web" in sys.modules:
        return
    import aiohttp  # noqa: PLC0415 - with what `leave_out_authorities` has prepared

    web = ModuleType("aiohttp.web")
    web.Request = web.Response = object  # type: ignore[attr-defined]
    sys.modules["aiohttp.web"] = aiohttp.web = web


def leave_out_authorities() -> None:
    """Import aiohttp without the system's authorities,
    which it loads twice for contexts that nobody here uses.

    kopf and the client make contexts of their own, with the cluster's authority or, where none is
    named, the system's.
    """
    ssl.SSLContext.set_default_verify_paths = lambda self: None  # type: ignore[method-assign] # noqa: ARG005
    try:
        import aiohttp  # noqa: F401, PLC0415
    finally:
        del ssl.SSLContext.set_default_verify_paths  # the one that it inherits is back


leave_out_clients()
leave_out_authorities()
leave_out_web_server()
