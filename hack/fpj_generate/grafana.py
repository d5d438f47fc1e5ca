"""The Grafana dashboard from a list of its panels.

A dashboard as Grafana saves it is thousands of lines that nobody reviews. Here is what matters of
it: what each panel asks, in which unit, and why one looks at it. ``namespace`` is the operator's;
workers run in those of the teams.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

FILE = "dashboard.json"
UID = "fpj-overview"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """``queries`` are (PromQL, legend).

    ``kind`` is Grafana's: stat or timeseries. ``width`` of 24 columns.
    """

    title: str
    text: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    most: float | None = None
    only_when_something_fails: bool = False
    """The query has no answer while all is well."""

    @property
    def height(self) -> int:
        """Of Grafana's rows of 30 pixels."""
        return 4 if self.kind == "stat" else 8


def _of(metric: str, *more: str) -> str:
    """A series of the operators chosen above."""
    matchers = ", ".join((*more, 'namespace=~"$namespace"'))
    return f"{metric}{{{matchers}}}"


def _rate(metric: str, *more: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({_of(metric, *more)}[$__rate_interval]))"


def _quantiles(
    metric: str, *quantiles: float, by: str = "", everywhere: bool = False
) -> tuple[tuple[str, str], ...]:
    """Quantiles of a histogram; ``everywhere``: also of what is not in the operator's namespace."""
    chosen = metric + "_bucket" if everywhere else _of(metric + "_bucket")
    grouped = f"{by}, le" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({grouped}) (rate({chosen}[$__rate_interval])))",
            f"{legend}p{q * 100:g}",
        )
        for q in quantiles
    )


_WORKED, _FAILED = 'result!="skipped"', 'result="failed"'
_ACTIVE = 'phase=~"Indexing|Running|Recovering"'
_USED = (
    f"max by (folder_namespace, folder) ({_of('fpj_cache_folder_bytes')})"
    f" / max by (folder_namespace, folder) ({_of('fpj_cache_folder_max_bytes')})"
)
_BAD = 'condition=~"Unreachable|Drifted"'
_WITHIN = 'condition="WithinQuota"'
_TROUBLED = (
    f"max by (folder_namespace, folder, condition) ({_of('fpj_cache_folder_condition', _BAD)})"
    " or 1 - min by (folder_namespace, folder, condition)"
    f" ({_of('fpj_cache_folder_condition', _WITHIN)})"
)
_FAILED_SHARE = (
    f"sum(increase({_of('fpj_images_total', _FAILED)}[1h])) /"
    f" sum(increase({_of('fpj_images_total', _WORKED)}[1h]))"
)
_ASKED = 'route!~"/livez|/readyz"'
_OPERATOR = f"and on (instance, job) {_of('fpj_operator_leader')}"

ROWS: dict[str, tuple[Panel, ...]] = {
    "Overview": (
        Panel(
            "Leader",
            "1: an operator leads. 0: none leads, and no job starts or ends.",
            ((f"sum({_of('fpj_operator_leader')})", ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Active jobs",
            "Indexing, Running or Recovering.",
            ((f"sum({_of('fpj_jobs', _ACTIVE)})", ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Jobs queued",
            "Waiting for one of their namespace's slots.",
            ((f"sum({_of('fpj_jobs_queued')})", ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Images per second",
            "Processed, successfully or not; up-to-date images are not counted.",
            ((_rate("fpj_images_total", _WORKED), ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Images left",
            "Images that active jobs still have to process.",
            ((f"sum({_of('fpj_images_pending')})", ""),),
            kind="stat",
            width=4,
        ),
        Panel(
            "Failed images",
            "Share of the images processed within the last hour.",
            ((_FAILED_SHARE, ""),),
            unit="percentunit",
            kind="stat",
            width=4,
        ),
    ),
    "Jobs": (
        Panel(
            "Jobs by phase",
            "All FileProcessingJobs that exist.",
            ((f"sum by (phase) ({_of('fpj_jobs')})", "{{phase}}"),),
            stacked=True,
        ),
        Panel(
            "Jobs ended, per hour",
            "By their final phase.",
            ((f"sum by (phase) (increase({_of('fpj_jobs_ended_total')}[1h]))", "{{phase}}"),),
        ),
        Panel(
            "Interruptions, per hour",
            "Restarted attempts by reason, and times a job found its collection locked.",
            (
                (
                    f"sum by (reason) (increase({_of('fpj_jobs_recovered_total')}[1h]))",
                    "{{reason}}",
                ),
                (f"sum(increase({_of('fpj_lease_waits_total')}[1h]))", "collection locked"),
            ),
        ),
        Panel(
            "Queue",
            "Jobs that wait for a slot.",
            ((f"sum({_of('fpj_jobs_queued')})", "queued"),),
        ),
        Panel(
            "Jobs in trouble",
            "Active but blocked; each reason has a runbook.",
            ((f"sum by (reason) ({_of('fpj_jobs_in_trouble')}) > 0", "{{reason}}"),),
            only_when_something_fails=True,
        ),
        Panel(
            "Missed runs of schedules, per hour",
            "By reason; the schedule has an event with the same reason.",
            (
                (
                    f"sum by (reason) (increase({_of('fpj_schedule_misses_total')}[1h]))",
                    "{{reason}}",
                ),
            ),
        ),
    ),
    "Images": (
        Panel(
            "Images per second, by result",
            "As the operator reads them from the store each time it reconciles a job.",
            ((_rate("fpj_images_total", by="result"), "{{result}}"),),
            stacked=True,
        ),
        Panel(
            "Failures by type, per hour",
            "The troubleshooting page explains each type.",
            (
                (
                    f"sum by (error_type) (increase({_of('fpj_images_failed_total')}[1h])) > 0",
                    "{{error_type}}",
                ),
            ),
            only_when_something_fails=True,
        ),
        Panel(
            "Written",
            "Bytes of derivatives.",
            ((_rate("fpj_bytes_written_total"), "written"),),
            unit="Bps",
        ),
        Panel(
            "Seconds per image",
            "Time to process one image. Prometheus has to scrape the worker pods.",
            _quantiles("fpj_worker_image_seconds", 0.5, 0.9, 0.99, everywhere=True),
            unit="s",
            width=12,
        ),
        Panel(
            "Utilization of worker processes",
            "Share of them that is processing an image. Prometheus has to scrape the worker pods.",
            (("sum(fpj_worker_busy_processes) / sum(fpj_worker_processes)", "busy"),),
            unit="percentunit",
            width=12,
            most=1.0,
        ),
    ),
    "Operator": (
        Panel(
            "Reconcile duration",
            "One reconciliation of a job, from reading its state to writing the result.",
            _quantiles("fpj_operator_reconcile_seconds", 0.5, 0.9, 0.99),
            unit="s",
        ),
        Panel(
            "Reconciliations and errors, per second",
            "Failed reconciliations are retried with increasing delays.",
            (
                (_rate("fpj_operator_reconcile_seconds_count"), "reconciliations"),
                (_rate("fpj_operator_reconcile_errors_total"), "errors"),
            ),
            unit="ops",
        ),
        Panel(
            "Work queue",
            "Jobs that wait to be reconciled; near 0 unless the operator is overloaded.",
            ((f"sum({_of('fpj_operator_workqueue_depth')})", "waiting"),),
        ),
        Panel(
            "Lag of the event loop",
            "Delay between when a task is due and when it runs.",
            _quantiles("fpj_operator_loop_lag_seconds", 0.5, 0.99),
            unit="s",
        ),
        Panel(
            "Memory",
            "Resident memory of each operator.",
            ((f"process_resident_memory_bytes {_OPERATOR}", "{{instance}}"),),
            unit="bytes",
        ),
        Panel(
            "CPU",
            "Cores used by each operator.",
            ((f"rate(process_cpu_seconds_total[$__rate_interval]) {_OPERATOR}", "{{instance}}"),),
        ),
    ),
    "API": (
        Panel(
            "Requests to the API, per second",
            "By the status of the response; the kubelet's probes are left out.",
            ((_rate("fpj_api_requests_total", _ASKED, by="status"), "{{status}}"),),
            unit="ops",
            width=6,
            stacked=True,
        ),
        Panel(
            "Seconds until the API answers",
            "Without streams, which stay open.",
            _quantiles("fpj_api_request_seconds", 0.5, 0.9, 0.99),
            unit="s",
            width=6,
        ),
        Panel(
            "Reviews, per second",
            "TokenReviews and SubjectAccessReviews sent to the cluster.",
            ((_rate("fpj_api_reviews_total", by="kind, result"), "{{kind}} {{result}}"),),
            unit="ops",
            width=6,
        ),
        Panel(
            "Streams and jobs of the API",
            "Open streams of all API pods, and the jobs that each pod holds in memory.",
            (
                (f"sum({_of('fpj_api_streams')})", "streams"),
                (f"max({_of('fpj_api_jobs')})", "jobs"),
            ),
            width=6,
        ),
    ),
    "Store and cache folders": (
        Panel(
            "Store latency, p90",
            "By operation, for the operator and scraped workers.",
            _quantiles("fpj_store_seconds", 0.9, by="operation", everywhere=True),
            unit="s",
        ),
        Panel(
            "Store operations, per second",
            "All operations, and those that failed.",
            (
                ("sum(rate(fpj_store_seconds_count[$__rate_interval]))", "operations"),
                ("sum(rate(fpj_store_errors_total[$__rate_interval]))", "failed"),
            ),
            unit="ops",
        ),
        Panel(
            "Cache folders, share used",
            "Cache folders with a maxBytes only; as last counted.",
            ((_USED, "{{folder_namespace}}/{{folder}}"),),
            unit="percentunit",
            most=1.0,
        ),
        Panel(
            "Cache folders in trouble",
            "By condition; one that is Unknown is not shown.",
            ((_TROUBLED, "{{folder_namespace}}/{{folder}} {{condition}}"),),
        ),
        Panel(
            "Evicted bytes per second",
            "By reason.",
            ((_rate("fpj_evicted_bytes_total", by="reason"), "{{reason}}"),),
            unit="Bps",
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    return {
        "title": "fpj",
        "uid": UID,
        "description": (
            "FileProcessingJobs, their images, the operator and its store. Generated by `make"
            " docs`."
        ),
        "tags": ["fpj", "kubernetes"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_datasource(), _namespace()]},
        "annotations": {"list": []},
        "panels": _panels(),
    }


def files() -> dict[str, str]:
    """File name to JSON text."""
    return {FILE: json.dumps(dashboard(), indent=2) + "\n"}


def _panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    y = 0
    for title, panels in ROWS.items():
        place = {"x": 0, "y": y, "w": _WIDTH, "h": 1}
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        y += 1
        x = tallest = 0
        for panel in panels:
            if x + panel.width > _WIDTH:
                x, y, tallest = 0, y + tallest, 0
            made.append(
                _panel(panel, len(made) + 1, {"x": x, "y": y, "w": panel.width, "h": panel.height})
            )
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return made


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.most is not None:
        defaults["max"] = panel.most
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        defaults["custom"] = {
            "fillOpacity": 30 if panel.stacked else 5,
            "showPoints": "never",
            "stacking": stacking,
        }
        options: dict[str, Any] = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    else:
        reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        options = {"reduceOptions": reduced, "colorMode": "value", "graphMode": "area"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "editorMode": "code",
                "expr": query,
                "legendFormat": legend or "__auto",
                "range": True,
            }
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }


def _datasource() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
    }


def _namespace() -> dict[str, Any]:
    return {
        "name": "namespace",
        "label": "Operator in",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": "label_values(fpj_operator_leader, namespace)", "refId": "namespaces"},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": False,
        "current": {"text": "All", "value": "$__all"},
    }
