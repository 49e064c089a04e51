"""Figures about this server for Prometheus: requests by route, and the process itself."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """One server's figures, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ("method", "route", "status")
        self._requests = Counter("headwater_http_requests", "Requests answered.", labels, registry=self.registry)
        self._seconds = Histogram(
            "headwater_http_request_seconds", "Time to answer.", ("method", "route"), buckets=BUCKETS_S, registry=self.registry
        )

    def request(self, *, method: str, route: str, status: int, took_s: float) -> None:
        """Count one request; a method that HTTP does not know counts as OTHER."""
        known = method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "OTHER"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(took_s)

    def add(self, collector: Collector) -> None:
        """Take in a collector of a room's own figures."""
        self.registry.register(collector)

    def exposition(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        return generate_latest(self.registry)
