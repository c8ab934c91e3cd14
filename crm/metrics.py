"""Prometheus metrics: what this machine's web processes served, and what the database tells.

Of several gunicorn processes any may be asked, so each counts in a file that all can read
(``share``, which ``crm.gunicorn`` calls). Routes are counted by their template: what callers write
into a path must not become a time series.
"""

import time
from collections.abc import Iterable

from flask import Flask, Response, current_app, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from crm.operations.gauges import Gauge

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
_shared: list[str] = []
"""The folder of the processes' files, if there are several."""


class _Requests:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.served = Counter(
            "crm_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "crm_request_seconds",
            "Seconds until an answer began.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )


def share(folder: str, process: int) -> None:
    """Count in a file of this folder, as the process of this number; before any app is made.

    The number is used again by the process that takes the place of this one, and its counts go
    on: files by process id would become ever more.
    """
    _shared[:] = [folder]
    # The library chooses by the environment while it is imported, which is before the fork.
    values.ValueClass = values.MultiProcessValue(lambda: process)  # type: ignore[no-untyped-call]


def count_requests(app: Flask) -> None:
    """Count every request by method, route and status, and how long its answer took to begin."""
    requests = app.extensions["crm_metrics"] = _Requests()

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "(none)"
        method = request.method if request.method in _METHODS else "(other)"
        requests.served.labels(method, route, str(response.status_code)).inc()
        requests.seconds.labels(method, route).observe(time.perf_counter() - g.began)
        return response


def write(gauges: Iterable[Gauge]) -> bytes:
    """All metrics in Prometheus's text format."""
    counted: CollectorRegistry = current_app.extensions["crm_metrics"].registry
    if _shared:
        counted = CollectorRegistry()
        MultiProcessCollector(counted, path=_shared[0])  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    registry.register(_GaugeCollector(gauges))
    return generate_latest(counted) + generate_latest(registry)


class _GaugeCollector(Collector):
    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.description, labels=gauge.labels)
            for labels, value in gauge.values:
                family.add_metric(labels, value)
            yield family
