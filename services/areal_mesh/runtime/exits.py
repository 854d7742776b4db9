"""Exit codes of the services and of what a launcher runs for them."""

EXIT_CRASHED = 1
EXIT_CANNOT_START = 78
"""EX_CONFIG: starting again would fail in the same way, so that a supervisor does not try."""
