"""Bearer tokens of people: what a file keeps of them, and who the holder of one is.

A token is 32 random bytes, so that its SHA-256 gives nothing away and needs neither salt nor a slow hash. The file
keeps that alone; the token is shown once, to whoever made it.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hmac import compare_digest
from pathlib import Path
from typing import Any

TOKENS_FILE = "tokens.json"
TOKEN_PREFIX = "areal-mesh-token-"
"""Begins every token, so that what looks for secrets in files and logs knows one."""
READ_ONLY, OPERATOR = "read-only", "operator"
ACCESSES = (READ_ONLY, OPERATOR)
_RANDOM_BYTES = 32


class TokensError(ValueError):
    """A file of tokens that cannot be read as one."""


@dataclass(frozen=True)
class TokenRecord:
    """What is kept of a token.

    `access` is one of ACCESSES; `sha256` the token's, in hexadecimal; `expires` seconds since 1970, None for never.
    """

    name: str
    access: str
    sha256: str
    expires: float | None = None


def new_token() -> str:
    """A token that nobody can guess."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def token_record(token: str, name: str, access: str, expires: float | None = None) -> TokenRecord:
    """What to keep of a token."""
    return TokenRecord(name, access, _digest(token), expires)


def holder_of(token: str, records: tuple[TokenRecord, ...], now: float) -> TokenRecord | None:
    """Whose token it is; None for one that is not known, or was. Takes as long for a wrong one as for a right one.

    `now`: seconds since 1970.
    """
    digest, found = _digest(token), None
    for record in records:
        if compare_digest(record.sha256, digest):
            found = record
    if found is None or (found.expires is not None and found.expires <= now):
        return None
    return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def parse_records(text: str) -> tuple[TokenRecord, ...]:
    """The records of a file.

    Raises:
        TokensError: it holds something else.
    """
    try:
        entries: list[Mapping[str, Any]] = json.loads(text)["tokens"]
        records = tuple(TokenRecord(**entry) for entry in entries)
    except (ValueError, KeyError, TypeError) as error:
        raise TokensError(f"is no file of tokens: {error}; make one with `areal-mesh tokens add`") from error
    for record in records:
        if record.access not in ACCESSES:
            raise TokensError(f"{record.name!r} has access {record.access!r}; there are {', '.join(ACCESSES)}")
    return records


def records_text(records: tuple[TokenRecord, ...]) -> str:
    """What `parse_records` reads."""
    return json.dumps({"tokens": [asdict(record) for record in records]}, indent=2) + "\n"


class TokenFile:
    """The records of a folder of certificates as they stand; without the file there are none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TOKENS_FILE
        self._stamp: tuple[int, int, int] | None = None
        self._records: tuple[TokenRecord, ...] = ()

    def records(self) -> tuple[TokenRecord, ...]:
        """The records of now: a token that was revoked is refused by the next call.

        Raises:
            TokensError: the file holds something else.
            OSError: it cannot be read.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._records = None, ()
            return ()
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        if stamp != self._stamp:
            self._records = parse_records(self._path.read_text(encoding="utf-8"))
            self._stamp = stamp
        return self._records
