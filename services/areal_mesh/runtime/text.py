"""Text that comes from elsewhere (an exception, a library), made fit to be sent and shown."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOST_BYTES = 2_000


def printable(text: str) -> str:
    """The text without what a terminal would act on."""
    return _CONTROL.sub("?", text)


def plain_text(text: str) -> str:
    """The text within what a `reason` of the contracts may hold: no control characters, and not too long."""
    readable = printable(text).encode(errors="replace")
    if len(readable) > _MOST_BYTES:
        readable = readable[:_MOST_BYTES] + b"..."
    return readable.decode(errors="ignore")
