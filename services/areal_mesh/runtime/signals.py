"""Which signals ask a process to drain."""

import signal


def drain_signals() -> tuple[signal.Signals, ...]:
    """Ctrl-C, SIGTERM, and the hangup of a terminal that is closed, unless it was to be ignored (`nohup`)."""
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hangup)
