"""Where a run is reached, and what proves to it who asks: the options that every asking command has."""

import argparse
import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.options import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE
from areal_mesh.cli.running_runs import find_controller
from areal_mesh.client import GeneratorClient, MeshClient, client_credentials
from areal_mesh.runtime.security.credentials import Credentials, CredentialsError


@dataclass(frozen=True)
class Target:
    """A controller's address, and the certificates and the token with which it is asked; plain text without."""

    address: str
    credentials: Credentials | None = None

    def mesh(self) -> AbstractAsyncContextManager[MeshClient]:
        """A client of the controller."""
        return MeshClient.connect(self.address, credentials=self.credentials)

    def generator(self, address: str) -> AbstractAsyncContextManager[GeneratorClient]:
        """A client of one of its generators."""
        return GeneratorClient.connect(address, credentials=self.credentials)


def target_of(options: argparse.Namespace) -> Target:
    """What the options of a command say.

    Raises:
        CommandFailed: certificates or token cannot be used; or no controller is named, and several runs go on.
    """
    # None: nobody named one. Empty: the command has its own way to it.
    address = find_controller() if options.controller is None else options.controller
    if not options.certificates:
        return Target(address)
    try:
        return Target(address, client_credentials(options.certificates, _token(options.token_file)))
    except CredentialsError as error:
        raise CommandFailed(str(error)) from error


def _token(file: str) -> str:
    """The token: of the file, else of the environment, else none."""
    if not file:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8"
        raise CommandFailed(f"{file}: {reason.lower()}; name the file of a token (${TOKEN_FILE_VARIABLE})") from error
