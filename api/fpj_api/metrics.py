"""The API's Prometheus metrics.

Labels come from closed sets: routes as they are written in the code, never paths.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "fpj_api_requests",
    "Requests answered, by route, method and status.",
    ["route", "method", "status"],
)
REQUEST_SECONDS = Histogram(
    "fpj_api_request_seconds",
    "Seconds until a request was answered; without streams, which stay open.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
STREAMS = Gauge("fpj_api_streams", "Open streams of job events.")
REVIEWS = Counter(
    "fpj_api_reviews",
    "TokenReviews (token) and SubjectAccessReviews (access) sent to the API server, by kind and"
    " result.",
    ["kind", "result"],
)
REFUSED_TOKENS = Counter(
    "fpj_api_refused_tokens",
    "Unknown tokens refused without a review: too many from an address, too many at once, or not a"
    " JWT.",
    ["reason"],
)
CLOSED_CONNECTIONS = Counter(
    "fpj_api_closed_connections",
    "Connections closed or refused: no request arrived (head), the client did not read (stuck),"
    " they made room for others (room), or a limit was reached (address, all).",
    ["reason"],
)
JOBS = Gauge("fpj_api_jobs", "FileProcessingJobs held in memory.")
WATCH_RESTARTS = Counter(
    "fpj_api_watch_restarts",
    "Times a watch of jobs broke and was restarted, by reason.",
    ["reason"],
)

OTHER = "other"
"""A path that no route has, or a method that no route takes."""


def _begin_at_zero() -> None:
    """A counter that appears as 1 has not increased for Prometheus."""
    for kind in ("token", "access"):
        for result in ("yes", "no", "failed"):
            REVIEWS.labels(kind, result)
    for reason in ("address", "busy", "shape"):
        REFUSED_TOKENS.labels(reason)
    for reason in ("head", "stuck", "room", "address", "all"):
        CLOSED_CONNECTIONS.labels(reason)
    for reason in ("expired", "failed"):
        WATCH_RESTARTS.labels(reason)


_begin_at_zero()
