"""The Prometheus endpoint of a service: its last report, its disk, and what the client library counts by itself."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, disable_created_metrics, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from areal_mesh.runtime.identity import version
from areal_mesh.runtime.metrics.metric import Sample, families, gauge
from areal_mesh.runtime.settings import ServiceSettings

INFO = gauge("areal_mesh_service_info", "Always 1: which service this is", "run", "service", "role", "version")
DISK_FREE = gauge("areal_mesh_disk_free_bytes", "Free on the disk of the run's directory")
DISK_SIZE = gauge("areal_mesh_disk_size_bytes", "Size of the disk of the run's directory")
OF_EVERY_SERVICE = (INFO, DISK_FREE, DISK_SIZE)


@dataclass(frozen=True)
class Samples(Collector):
    """A collector of what `read` gives; it is called from the endpoint's threads."""

    read: Callable[[], Iterable[Sample]]

    def collect(self) -> Iterable[Metric]:
        """The samples as they are now."""
        return families(self.read())


def new_registry() -> CollectorRegistry:
    """A registry of one service, with all that the client library has of this process."""
    registry = CollectorRegistry()
    registry.register(_OfTheProcess())
    return registry


class _OfTheProcess(Collector):
    """What is counted call by call, and the process's memory, CPU time and open files."""

    def collect(self) -> Iterable[Metric]:
        return REGISTRY.collect()


def about(run: str, service_id: str, role: str, directory: Path) -> Iterator[Sample]:
    """Which service this is, and the disk of its run."""
    yield Sample(INFO, 1.0, (run, service_id, role, version()))
    with contextlib.suppress(FileNotFoundError):  # the run's directory is not made yet
        disk = os.statvfs(directory)
        yield Sample(DISK_FREE, disk.f_bavail * disk.f_frsize)
        yield Sample(DISK_SIZE, disk.f_blocks * disk.f_frsize)


class Endpoint:
    """Serves a registry over HTTP on `metrics_port`, if the settings name one.

    Raises:
        OSError: the address is taken.
    """

    def __init__(self, section: ServiceSettings, registry: CollectorRegistry) -> None:
        self.port = 0
        self._server = None
        if section.metrics_port is None:
            return
        disable_created_metrics()  # type: ignore[no-untyped-call]
        address = section.metrics_address
        self._server, self._thread = start_http_server(address.port, address.host, registry)
        self.port = self._server.server_port

    def close(self) -> None:
        """Stops serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
