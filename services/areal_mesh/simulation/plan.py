"""What is simulated: how many members, how fast they are, and how time is compressed. Pure."""

from dataclasses import dataclass

from areal_mesh.simulation.lengths import Lengths


@dataclass(frozen=True)
class Plan:
    """A simulated cluster. Times are simulated seconds; the services' own times, such as heartbeats, are real ones."""

    generators: int
    groups_in_flight: int
    """That a generator works on at once."""
    token_seconds: float
    """That a response takes for a token, whatever else is decoded beside it."""
    step_seconds: float
    """That an update takes."""
    batch_groups: int
    max_staleness: int
    steps: int
    speed: float
    """Simulated seconds in a real one."""
    payload_tokens: int
    """Tokens that a response carries through the replay buffer, of those it is said to have."""
    lengths: Lengths

    def real(self, seconds: float) -> float:
        """Real seconds of simulated ones."""
        return seconds / self.speed

    def generation_seconds(self, lengths: list[int]) -> float:
        """Real seconds that a group takes: its longest response does."""
        return self.real(max(lengths) * self.token_seconds)


def host_of(number: int) -> str:
    """The loopback address of a simulated generator: one each, so that the controller has a channel to each."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


MOST_GENERATORS = 4_000
"""As many as a controller takes, and have addresses."""
