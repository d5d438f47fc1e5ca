"""The API's settings."""

from __future__ import annotations

import pytest

from fpj_api.settings import ApiSettings, settings_from
from fpj_core.errors import ManifestError

STORE = {"FPJ_STORE": "mongodb://store/fpj"}


def test_defaults() -> None:
    assert settings_from(STORE | {"FPJ_API_PORT": ""}) == ApiSettings("mongodb://store/fpj")


def test_all_is_read() -> None:
    given = {
        "FPJ_NAMESPACES": "a, b",
        "FPJ_API_HOST": "::1",
        "FPJ_API_PORT": "81",
        "FPJ_METRICS_PORT": "0",
        "FPJ_API_AUDIENCES": "fpj",
        "FPJ_API_MOST_STREAMS": "3",
        "FPJ_API_REVIEW_SECONDS": "2.5",
        "FPJ_API_JWT_ONLY": "true",
        "FPJ_API_TRUSTED_PROXIES": "10.0.0.0/8, fd00::1",
        "FPJ_API_PROBE_PORT": "82",
    }
    proxies = ("10.0.0.0/8", "fd00::1")
    expected = ApiSettings(
        "mongodb://store/fpj", ("a", "b"), "::1", 81, 0, ("fpj",), 3, 2.5, True, proxies, 82
    )
    assert settings_from(STORE | given) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"FPJ_STORE": ""}, "FPJ_STORE must be set"),
        ({"FPJ_STORE": "sqlite:///x"}, "FPJ_STORE must be mongodb://"),
        ({"FPJ_API_PORT": "0"}, "FPJ_API_PORT: '0' is not a number of at least 1"),
        ({"FPJ_API_REVIEW_SECONDS": "0.5"}, "FPJ_API_REVIEW_SECONDS"),
        ({"FPJ_API_TRUSTED_PROXIES": "10.0.0.0/8,proxy"}, "FPJ_API_TRUSTED_PROXIES: 'proxy'"),
        ({"FPJ_API_MOST_STREAMS": "many"}, "FPJ_API_MOST_STREAMS"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(ManifestError) as raised:
        settings_from(STORE | given)
    assert message in str(raised.value)
