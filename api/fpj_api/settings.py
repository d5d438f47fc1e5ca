"""What the person who installs the API decides, from environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from fpj_api.addresses import networks
from fpj_core.errors import ManifestError
from fpj_core.process.settings import read_settings, setting

_STORES = ("mongodb://", "mongodb+srv://")


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Durations are seconds."""

    store_url: str = setting("FPJ_STORE")
    """``mongodb://…``: where results are recorded."""
    namespaces: tuple[str, ...] = setting("FPJ_NAMESPACES", ())
    """Namespaces to serve, separated by commas; all if empty."""
    host: str = setting("FPJ_API_HOST", "")
    """Address to listen on; all of the machine's if empty."""
    port: int = setting("FPJ_API_PORT", 8080, least=1)
    """Port of the API and the dashboard."""
    metrics_port: int = setting("FPJ_METRICS_PORT", 9090)
    """``/metrics``; 0 switches it off."""
    audiences: tuple[str, ...] = setting("FPJ_API_AUDIENCES", ())
    """Audiences of which a token must name one, separated by commas.

    The API server's own if empty.
    """
    most_streams: int = setting("FPJ_API_MOST_STREAMS", 200, least=1)
    """Streams open at a time."""
    review_seconds: float = setting("FPJ_API_REVIEW_SECONDS", 10.0, least=1)
    """How long it is remembered who somebody is and what they may do."""
    jwt_only: bool = setting("FPJ_API_JWT_ONLY", False)
    """Whether only tokens in the form of a JWT are asked about:
    those of service accounts and OpenID Connect are.
    """
    trusted_proxies: tuple[str, ...] = setting("FPJ_API_TRUSTED_PROXIES", ())
    """Addresses and networks of proxies whose ``X-Forwarded-For`` is believed, separated by commas.

    None if empty.
    """
    probe_port: int = setting("FPJ_API_PROBE_PORT", 8081)
    """``/livez`` and ``/readyz`` beside the API's port, so that no load there is in their way.

    0 switches it off.
    """


def settings_from(environment: Mapping[str, str] = os.environ) -> ApiSettings:
    """Read the settings.

    Raises `ManifestError` that names every variable that is missing or invalid.
    """
    settings = read_settings(ApiSettings, environment)
    if not settings.store_url.startswith(_STORES):
        raise ManifestError(["FPJ_STORE must be mongodb://… or mongodb+srv://…"])
    try:
        networks(settings.trusted_proxies)
    except ManifestError as error:
        raise ManifestError(
            [f"FPJ_API_TRUSTED_PROXIES: {problem}" for problem in error.problems]
        ) from None
    return settings
