"""Counts and times of the server as Prometheus reads them (text format 0.0.4).

Counters of the model come from the scheduler at the moment they are asked for; those of requests are kept here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends, in seconds."""


class RequestMetrics:
    """How many requests each path had by status, and how long they took."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def saw(self, path: str, status: int, seconds: float) -> None:
        self._requests[path, status] += 1
        buckets = self._buckets.setdefault(path, [0] * (len(BUCKETS) + 1))
        buckets[next((index for index, end in enumerate(BUCKETS) if seconds <= end), len(BUCKETS))] += 1
        self._seconds[path] += seconds

    def lines(self) -> Iterable[str]:
        yield from _head("stackwright_requests_total", "counter", "Requests by path and status.")
        for (path, status), count in sorted(self._requests.items()):
            yield f'stackwright_requests_total{{path="{path}",status="{status}"}} {count}'
        name = "stackwright_request_seconds"
        yield from _head(name, "histogram", "Seconds from the request to the end of its answer.")
        for path, buckets in sorted(self._buckets.items()):
            for end, count in zip([*map(str, BUCKETS), "+Inf"], accumulate(buckets)):
                yield f'{name}_bucket{{path="{path}",le="{end}"}} {count}'
            yield f'{name}_sum{{path="{path}"}} {self._seconds[path]:.6f}'
            yield f'{name}_count{{path="{path}"}} {sum(buckets)}'


def page(
    requests: RequestMetrics, gauges: Mapping[str, tuple[str, float]], counters: Mapping[str, tuple[str, float]]
) -> str:
    """Return the whole page. Gauges and counters are name -> (help, value)."""
    lines = list(requests.lines())
    for kind, metrics in (("gauge", gauges), ("counter", counters)):
        for name, (help_text, value) in metrics.items():
            lines += [*_head(name, kind, help_text), f"{name} {value:g}" if kind == "gauge" else f"{name} {value:.10g}"]
    return "\n".join(lines) + "\n"


def _head(name: str, kind: str, help_text: str) -> Iterable[str]:
    return (f"# HELP {name} {help_text}", f"# TYPE {name} {kind}")
