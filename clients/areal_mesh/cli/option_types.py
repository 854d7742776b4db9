"""Types of options that several commands share."""

import argparse

from areal_mesh.runtime.addresses import Address


def address(text: str) -> str:
    """The host:port of something that answers."""
    try:
        found = Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}") from error
    if found.port == 0:
        raise argparse.ArgumentTypeError(f"{text!r} has port 0, at which nothing answers; give the controller's own")
    return str(found)


def address_or_nothing(text: str) -> str:
    """As `address`, or nothing: what `serve` is given by default, where the settings say where the controller is."""
    return address(text) if text else ""


def interval(text: str) -> float:
    """Seconds between two views."""
    seconds = float(text)
    if seconds < 0.1:
        raise argparse.ArgumentTypeError("at least 0.1 seconds")
    return seconds


def positive(text: str) -> int:
    """A count of at least one."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def count(text: str) -> int:
    """A whole number of things."""
    number = int(text)
    if not 1 <= number <= 4096:
        raise argparse.ArgumentTypeError("1 to 4096")
    return number
