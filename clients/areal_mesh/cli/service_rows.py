"""The services of a run as a table: all columns where there is room, and what matters most on eighty. Pure."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from areal_mesh.client import ServiceState, ServiceStatus

ProcessNotes = Mapping[str, str]
"""What the launcher knows of a service's process, by service id."""

_STATE_STYLES = {
    ServiceState.SERVING: "green",
    ServiceState.STARTING: "yellow",
    ServiceState.PENDING_WEIGHTS: "yellow",
    ServiceState.DRAINING: "yellow",
    ServiceState.STOPPED: "dim",
    ServiceState.LOST: "bold red",
    ServiceState.UNKNOWN: "dim",
}
_COLUMNS = ("service", "role", "address", "state", "version", "rate", "progress", "starts")
_DROPPED = ((150, ("role", "starts")), (110, ("address",)))
"""Columns that are left out where the terminal has fewer columns than that."""
_PROCESS = "process"


def services_table(services: Sequence[ServiceStatus], processes: ProcessNotes, width: int = 200) -> Table:
    """A row for each service that registered, and for each process that has not yet, with what it does meanwhile.

    Args:
        width: columns of the terminal.
    """
    rows = [_cells(service) | {_PROCESS: processes.get(service.service_id, "")} for service in services]
    seen = {service.service_id for service in services}
    rows += [_awaited(name, note) for name, note in processes.items() if name not in seen]
    dropped = {name for least, names in _DROPPED if width < least for name in names}
    columns = [name for name in _COLUMNS if name not in dropped] + ([_PROCESS] if processes else [])
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        # The process has what the others leave: it alone is cut short.
        least = 0 if name == _PROCESS else max([len(name), *(len(str(row[name])) for row in rows)])
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=least)
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def _awaited(name: str, note: str) -> dict[str, str | Text]:
    """A service whose process runs, and which has not registered."""
    blank: dict[str, str | Text] = dict.fromkeys(_COLUMNS, "")
    starting = Text("starting", style="yellow")
    return blank | {"service": name, "role": name.partition("-")[0], "state": starting, _PROCESS: note}


def _cells(service: ServiceStatus) -> dict[str, str | Text]:
    return {
        "service": service.service_id,
        "role": service.role,
        "address": service.address,
        "state": Text(service.state.replace("_", " "), style=_STATE_STYLES[service.state]),
        "version": "-" if service.policy_version < 0 else str(service.policy_version),
        "rate": f"{service.rate:,.1f} {service.rate_unit}/s" if service.rate_unit else "-",
        "progress": f"{service.seconds_since_progress:.1f} s ago",
        "starts": str(service.starts),
    }
