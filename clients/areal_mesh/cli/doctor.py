"""`areal-mesh doctor`: what this machine can run of a preset, each finding with its remedy."""

import dataclasses
import json
from collections.abc import Iterator, Sequence

from rich.markup import escape
from rich.table import Table

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.findings import Finding, findings
from areal_mesh.cli.gaps import faults
from areal_mesh.cli.joining import address_findings, ask_run, for_role, joining_findings, of_role
from areal_mesh.cli.machine import read_machine
from areal_mesh.cli.preflight import check_listen
from areal_mesh.cli.resolving import resolved
from areal_mesh.cli.tables import print_wide
from areal_mesh.cli.targets import Target
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.roles import SERVICE_ROLES
from areal_mesh.runtime.settings import RunSettings

_COLOURS = {"fine": "green", "remark": "yellow", "fault": "red"}


def examine(source: str, overrides: Sequence[str], as_json: bool, role: str = "", join: Target | None = None) -> None:
    """Prints what the machine has, and what of the run's settings it cannot do.

    Args:
        role: of the one service that is to run here; empty for all.
        join: the controller whose run the node is to join; None: no run.

    Raises:
        CommandFailed: something has to be seen to before the run could start; all is printed.
    """
    settings = resolved(source, overrides)
    found = list(of_role(findings(read_machine(settings.directory), for_role(settings, role)), role))
    if join is not None:
        found += joining_findings(ask_run(join), settings.model_dump(mode="json"))
        found += address_findings(role, settings.service(role)) if role else ()
    found += [
        *_ports(settings, (role,) if role else SERVICE_ROLES),
        *(Finding("settings", "fault", fault) for fault in faults(settings)),
    ]
    if as_json:
        for finding in found:
            print(json.dumps(dataclasses.asdict(finding)))
    else:
        _print(found)
    wrong = sum(finding.level == "fault" for finding in found)
    if wrong:
        things = "1 thing has" if wrong == 1 else f"{wrong} things have"
        raise CommandFailed(f"{things} to be seen to before {source} can run here", EXIT_CANNOT_START)
    if not as_json:
        print(f"{source} can run here")


def _ports(settings: RunSettings, roles: Sequence[str]) -> Iterator[Finding]:
    """Where the services would listen, as each checks it when it starts."""
    for role in roles:
        address = settings.service(role).address
        if address.port == 0:
            continue
        try:
            check_listen(f"{role}.listen", address)
            yield Finding("ports", "fine", f"{role}.listen = {address}: free")
        except StartupError as error:
            yield Finding("ports", "fault", str(error))


def _print(found: Sequence[Finding]) -> None:
    table = Table("", "this machine", "found", "what would do")
    for finding in found:
        level = f"[{_COLOURS[finding.level]}]{finding.level}[/]"
        table.add_row(level, finding.name, escape(finding.found), escape(finding.remedy))
    print_wide(table)
