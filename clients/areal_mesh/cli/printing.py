"""Standard output and error of a command: whatever their encoding, no text of ours fails on them.

A character that the encoding lacks is written in ASCII: by what reads the same where there is such a thing, else
escaped. So are the bytes of a file's name that are no text in any encoding.
"""

import codecs
import io
import os
import sys

_HANDLER = "areal-mesh-ascii"
_ASCII = {"→": "->", "…": "...", "•": "*", "·": "-", "–": "-", "—": "-"}


def make_output_safe() -> None:
    """Has both streams write what their encoding lacks in ASCII; for the whole process, before anything is printed."""
    codecs.register_error(_HANDLER, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    written = "".join(
        _ASCII.get(character) or _escaped(character) for character in error.object[error.start : error.end]
    )
    return written, error.end


def _escaped(character: str) -> str:
    # A lone surrogate stands for a byte that could not be decoded.
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("ascii", "backslashreplace").decode("ascii")


def flush_output() -> None:
    """Writes out what was printed, so that what cannot be written is known before the command ends.

    Raises:
        OSError: standard output takes no more.
    """
    sys.stdout.flush()


def discard_output() -> None:
    """Lets go of what standard output could not take, which the interpreter would try to write once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_unicode() -> bool:
    """Whether standard output takes every character."""
    return (sys.stdout.encoding or "").lower().startswith("utf")
