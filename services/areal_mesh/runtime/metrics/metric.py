"""One metric and its samples, by Prometheus' conventions: base units in the name, `_total` for what only grows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Kind = Literal["counter", "gauge"]


@dataclass(frozen=True)
class Described:
    """A metric as it is documented."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A value of a metric, under the values of its labels."""

    metric: Described
    value: float
    labels: tuple[str, ...] = ()


def counter(name: str, text: str, *labels: str) -> Described:
    """A metric that only grows, but for a restart of the service."""
    return Described(f"{name}_total", "counter", text, labels)


def gauge(name: str, text: str, *labels: str) -> Described:
    """A metric that goes up and down."""
    return Described(name, "gauge", text, labels)


def families(samples: Iterable[Sample]) -> Iterator[Metric]:
    """Samples as the client library takes them, those of a metric together, in the order of their first."""
    by_metric: dict[Described, list[Sample]] = {}
    for sample in samples:
        by_metric.setdefault(sample.metric, []).append(sample)
    for metric, values in by_metric.items():
        yield _family(metric, values)


def _family(metric: Described, values: Sequence[Sample]) -> Metric:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for sample in values:
        family.add_metric(sample.labels, sample.value)
    return family


def one_of(metric: Described, states: Mapping[str, bool]) -> Iterator[Sample]:
    """A sample for each state, 1 for the one that holds: what asks for a state that never was finds 0, not nothing."""
    for state, holds in states.items():
        yield Sample(metric, float(holds), (state,))
