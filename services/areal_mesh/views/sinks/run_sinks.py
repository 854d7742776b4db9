"""The sinks of a run, as its controller has them: trackers in processes of their own."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from areal_mesh.views.sinks.followers import Followers

TENSORBOARD = "tensorboard"


class RunSinks:
    """Follows the metrics of a run into its sinks; nothing that happens to one is raised.

    Args:
        identity: tells the run from others of its name, and is the same in every sitting.
        config: the resolved settings as plain values.
    """

    def __init__(
        self, sinks: Sequence[Any], folder: Path, identity: str, config: dict[str, Any], say: Callable[[str], None]
    ) -> None:
        self.writes_events = TENSORBOARD in [sink.type for sink in sinks]
        self._followers: Followers | None = None
        self._start: Callable[[], Followers] = partial(Followers, sinks, folder, identity, config, say)

    def start(self) -> None:
        """Starts the trackers."""
        self._followers = self._start()

    def look(self) -> None:
        """Says which trackers have ended."""
        if self._followers is not None:
            self._followers.look()

    def close(self, seconds: float) -> None:
        """Has the trackers send what is left, within so many seconds."""
        if self._followers is not None:
            self._followers.close(seconds)
            self._followers = None
