"""Tells systemd how the service stands (`sd_notify`); does nothing where no supervisor asked for it.

The protocol is one datagram of `KEY=VALUE` lines to the socket that `NOTIFY_SOCKET` names.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

_MICROSECONDS = 1e6


class Supervisor:
    """The supervisor that the environment names, if it names one."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        asked_of = environment.get("WATCHDOG_PID", "")
        mine = not asked_of or asked_of == str(os.getpid())
        interval = int(environment.get("WATCHDOG_USEC") or 0) / _MICROSECONDS if mine and address else 0.0
        self.keep_alive_seconds = interval / 2
        """How often `alive` is to be said; 0: not at all."""

    def ready(self) -> None:
        """The service serves."""
        self._say("READY=1")

    def stopping(self) -> None:
        """The service drains."""
        self._say("STOPPING=1")

    def alive(self, status: str) -> None:
        """The event loop turns; `status` is what `systemctl status` shows."""
        self._say(f"WATCHDOG=1\nSTATUS={status}")

    def _say(self, text: str) -> None:
        if not self._address:
            return
        # A supervisor that is gone hears nothing, and the service outlives it.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(text.encode(), self._address)
