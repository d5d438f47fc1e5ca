"""What `fpj_core.process.lean` leaves out stays out, and what is needed works as ever.

In processes of their own.
"""

from __future__ import annotations

import subprocess
import sys

LEFT_OUT = (
    "kubernetes.aio.dynamic",
    "kubernetes.aio.watch",
    "kubernetes.client.api",
    "urllib3",
    "aiohttp.web_app",
)
AUTHORITIES = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"


def said(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_what_the_operator_never_uses_is_not_loaded() -> None:
    loaded = said("import sys, fpj_operator.main; print(*sys.modules)").split()
    assert "kopf" in loaded
    assert "kubernetes.aio.client" in loaded
    assert not set(LEFT_OUT) & set(loaded)


def test_authorities_are_there_for_whoever_asks() -> None:
    assert said(f"import fpj_core.process.lean, aiohttp; {AUTHORITIES}") == said(AUTHORITIES)


def test_a_web_server_says_that_it_is_left_out() -> None:
    asked = (
        "import fpj_core.process.lean, aiohttp.web\ntry: aiohttp.web.Application\nexcept"
        " AttributeError as e: print(e)"
    )
    assert "has no attribute 'Application'" in said(asked)
