"""Numbers and times as people read them, on a terminal and in ``status.display``."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """Bytes with a binary unit: ``1.4 MiB``."""
    for unit in _UNITS:
        digits = 0 if unit == "B" or count >= 99.95 else 1
        if round(count, digits) < 1024 or unit == _UNITS[-1]:
            return f"{count:.{digits}f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def duration(seconds: float | None) -> str:
    """The two largest units, as kubectl shows ages: ``45s``, ``3m12s``, ``2h5m``,
    ``4d3h``; ``-`` if unknown.
    """
    if seconds is None:
        return "-"
    left = round(seconds)
    if 0 < seconds < 9.95:
        return f"{seconds:.1f}s"
    for large, small, length in (("d", "h", 86_400), ("h", "m", 3_600), ("m", "s", 60)):
        if left >= length:
            rest = left % length // (length // (24 if large == "d" else 60))
            return f"{left // length}{large}{rest}{small}" if rest else f"{left // length}{large}"
    return f"{left}s"


def rate(images_per_second: float) -> str:
    """Images per second; ``-`` when nothing has been worked on."""
    if images_per_second <= 0:
        return "-"
    return (
        f"{images_per_second:.1f}/s" if images_per_second < 99.95 else f"{images_per_second:,.0f}/s"
    )


def count(number: int) -> str:
    """A whole number with thousands separated."""
    return f"{number:,}"


def moment(seconds: float) -> str:
    """RFC 3339 in UTC, as in Kubernetes objects."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def precise(seconds: float) -> str:
    """RFC 3339 with microseconds, as the Lease API wants it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(text: str | None) -> float:
    """The inverse of `moment`, also for fractions of seconds; 0 for nothing."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0
