"""A service that cannot start, where its supervisor would start it again whatever it says: it ends the run instead.

Compose knows no exit code after which it leaves a service alone, but 0.
"""

import asyncio
import os
import sys
import time

from areal_mesh.cli.options import TOKEN_VARIABLE
from areal_mesh.cli.service_credentials import service_credentials
from areal_mesh.client import MeshClient, MeshClientError, RequestRefused, client_credentials
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.farewell import bid_farewell
from areal_mesh.runtime.security.credentials import Credentials, CredentialsError
from areal_mesh.runtime.service import ServiceEnd
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.text import plain_text

END_RUN_VARIABLE = "AREAL_MESH_END_RUN"
_STOP_SECONDS = 60.0
_AGAIN_SECONDS = 1.0
_MOST_WORDS = 1_000


def exit_code_of(role: str, service_id: str, end: ServiceEnd, settings: RunSettings | None, controller: str) -> int:
    """The exit code of a service; one that cannot start ends the run first, and has 0, if the environment says so.

    Args:
        settings: None where they do not hold, which ends every other service in the same way.
        controller: its host:port; nothing where that is not known.
    """
    if end.exit_code != EXIT_CANNOT_START or not os.environ.get(END_RUN_VARIABLE):
        return end.exit_code
    if role == "controller" and settings is not None:
        _leave_word(settings, service_id, end.reason)
    elif role != "controller" and controller:
        _stop_run(settings, controller, f"{service_id} {end.reason}")
    print(f"areal-mesh {service_id}: the run ends here: {end.reason}", file=sys.stderr, flush=True)
    return 0


def _leave_word(settings: RunSettings, service_id: str, reason: str) -> None:
    try:
        credentials = service_credentials(settings, "controller", service_id)
        asyncio.run(bid_farewell(settings.controller.listen, reason, credentials=credentials))
    except StartupError as error:
        # The address may be what the controller could not start for.
        print(f"areal-mesh controller: the other services cannot be told: {error}", file=sys.stderr, flush=True)


def _stop_run(settings: RunSettings | None, controller: str, reason: str) -> None:
    """Stops the run as a person does: over TLS with the client's certificate and an operator's token."""
    folder = None if settings is None else settings.security.certificates
    try:
        credentials = None if folder is None else client_credentials(folder, os.environ.get(TOKEN_VARIABLE, ""))
    except CredentialsError as error:
        print(f"areal-mesh: the run cannot be stopped: {error}", file=sys.stderr, flush=True)
        return
    asyncio.run(_stop(controller, reason, credentials))


async def _stop(controller: str, reason: str, credentials: Credentials | None) -> None:
    """Has the controller stop the run, once it is there."""
    until = time.monotonic() + _STOP_SECONDS
    async with MeshClient.connect(controller, credentials=credentials) as mesh:
        while True:
            try:
                return await mesh.stop(plain_text(reason)[:_MOST_WORDS])
            except MeshClientError as error:
                if time.monotonic() > until or isinstance(error, RequestRefused):
                    print(f"areal-mesh: the run cannot be stopped: {error}", file=sys.stderr, flush=True)
                    return None
                await asyncio.sleep(_AGAIN_SECONDS)
