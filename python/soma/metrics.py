"""metrics_client of a Handler: statsd with tags, as Cortex's sent it.

One UDP packet for each call, to where an exporter for Prometheus listens. Lost
when nobody does: metrics never fail a request.
"""
import socket

ADDRESS = ("127.0.0.1", 9125)
RESERVED = ("cortex_", "istio_")


class MetricsClient:
    """Counters, gauges and histograms."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def _send(self, kind, metric, value, tags):
        if metric.startswith(RESERVED):
            raise ValueError("the metric %r begins with %s, which is reserved: rename it" % (metric, " or ".join(RESERVED)))
        text = "%s:%s|%s" % (metric, value, kind)
        if tags:
            text += "|#" + ",".join("%s:%s" % tag for tag in tags.items())
        try:
            self._socket.sendto(text.encode("utf-8"), ADDRESS)
        except OSError:
            pass

    def increment(self, metric, value=1, tags=None):
        self._send("c", metric, value, tags)

    def gauge(self, metric, value, tags=None):
        self._send("g", metric, value, tags)

    def histogram(self, metric, value, tags=None):
        self._send("h", metric, value, tags)
