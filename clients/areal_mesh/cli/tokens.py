"""`areal-mesh tokens`: who may look at a run over TLS, and who may steer it."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.secret_files import OWNER_ONLY, write_file
from areal_mesh.cli.tables import print_rows
from areal_mesh.runtime.security.tokens import (
    TOKENS_FILE,
    TokenFile,
    TokenRecord,
    TokensError,
    new_token,
    records_text,
    token_record,
)


def add_token(folder: str, name: str, access: str, days: float | None) -> None:
    """Makes a token and prints it, alone on standard output.

    Raises:
        CommandFailed: there is one of that name.
    """
    records = _records(folder)
    if any(record.name == name for record in records):
        raise CommandFailed(f"{folder}: {name!r} has a token; `areal-mesh tokens revoke {name}` first")
    token = new_token()
    expires = None if days is None else time.time() + days * 86400
    _write(folder, (*records, token_record(token, name, access, expires)))
    print(f"a token for {access} use, shown this once; its holder sets AREAL_MESH_TOKEN to it:", file=sys.stderr)
    print(token)


def revoke_token(folder: str, name: str) -> None:
    """Takes a token out.

    Raises:
        CommandFailed: there is none of that name.
    """
    records = _records(folder)
    left = tuple(record for record in records if record.name != name)
    if left == records:
        raise CommandFailed(f"{folder}: no token of {name!r}; there are: {_names(records)}")
    _write(folder, left)
    print(f"revoked; services that read {Path(folder) / TOKENS_FILE} refuse it from the next call on")


def list_tokens(folder: str) -> None:
    """Prints a row a token."""
    print_rows(
        ("name", "access", "until (UTC)"), [(record.name, record.access, _until(record)) for record in _records(folder)]
    )


def _until(record: TokenRecord) -> str:
    if record.expires is None:
        return "for ever"
    return f"{datetime.fromtimestamp(record.expires, UTC):%Y-%m-%d %H:%M}"


def _names(records: tuple[TokenRecord, ...]) -> str:
    return ", ".join(record.name for record in records) or "none"


def _records(folder: str) -> tuple[TokenRecord, ...]:
    try:
        return TokenFile(Path(folder)).records()
    except TokensError as error:
        raise CommandFailed(f"{Path(folder) / TOKENS_FILE}: {error}") from error
    except OSError as error:
        raise CommandFailed(f"{Path(folder) / TOKENS_FILE}: {str(error.strerror).lower()}") from error


def _write(folder: str, records: tuple[TokenRecord, ...]) -> None:
    write_file(Path(folder) / TOKENS_FILE, records_text(records).encode(), OWNER_ONLY, replace=True)
