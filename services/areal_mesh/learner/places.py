"""Places of the learner's ranks: which this process is, and the store at which they meet.

Ranks are started by the learner itself, on one host or with the same command on each of several, or by `torchrun` or
alike, whose environment is taken as it stands.
"""

import json
import os
from dataclasses import asdict, dataclass
from datetime import timedelta

import psutil
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.settings import LearnerSettings
from areal_mesh.weights.transports.gloo import local_address

_INTERFACE = "GLOO_SOCKET_IFNAME"


class RanksNotPlaced(ValueError):
    """The settings do not say where the ranks lie or meet; the message says what would do."""


@dataclass(frozen=True)
class Place:
    """One rank among all."""

    rank: int
    world_size: int
    local_rank: int
    """Among the ranks of its host: the number of its GPU."""
    hosts: int
    """That the ranks lie on, as many on each."""
    store: Address
    """Where rank 0's host serves the store."""
    served: bool = False
    """Whether somebody else serves the store, as `torchrun`'s agent does."""

    def connect(self, seconds: float) -> TCPStore:
        """Reach the store. Raises RuntimeError (DistNetworkError, DistStoreError) when it is not there in time."""
        return TCPStore(
            self.store.host,
            self.store.port,
            is_master=False,
            timeout=timedelta(seconds=seconds),
            wait_for_workers=False,
        )

    def encode(self) -> str:
        """Itself as a word of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, word: str) -> "Place":
        """What `encode` made."""
        values = json.loads(word)
        return cls(**values | {"store": Address(**values["store"])})

    def choose_interface(self) -> None:
        """Have Gloo listen where the store is reached from: left alone it takes what the host's name resolves to.

        Call before the process group is made. An interface that the environment names is kept.
        """
        if _INTERFACE in os.environ:
            return
        mine = local_address(self.store.host, self.store.port)
        for name, addresses in psutil.net_if_addrs().items():
            if any(address.address.partition("%")[0] == mine for address in addresses):
                os.environ[_INTERFACE] = name
                return


def place_from_torchrun() -> Place | None:
    """The place that `torchrun`'s environment describes; None where there is none, or one rank alone."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1 or "RANK" not in os.environ:
        return None
    on_host = int(os.environ.get("LOCAL_WORLD_SIZE", str(world_size)))
    return Place(
        rank=int(os.environ["RANK"]),
        world_size=world_size,
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        hosts=max(1, world_size // on_host),
        store=Address(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])),
        served=os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
    )


def places_of_host(settings: LearnerSettings, host: int, store: Address | None = None) -> list[Place]:
    """The ranks of one host, by number.

    Args:
        host: number of the host, from 0.
        store: where rank 0 serves the store; None: as the settings say.

    Raises RanksNotPlaced where there is no such host, or nothing says where the store is.
    """
    if not 0 <= host < settings.hosts:
        raise RanksNotPlaced(f"--node-rank {host} with learner.hosts = {settings.hosts}: number the hosts from 0")
    if store is None:
        if not settings.rendezvous:
            raise RanksNotPlaced(
                f"learner.hosts = {settings.hosts}: set learner.rendezvous = HOST:PORT, an address of the host with "
                "--node-rank 0 that the others reach, or start the ranks by torchrun"
            )
        store = Address.parse(settings.rendezvous)
    on_host = settings.ranks // settings.hosts
    return [Place(host * on_host + local, settings.ranks, local, settings.hosts, store) for local in range(on_host)]


def meet(place: Place, backend: str, seconds: float) -> None:
    """Join the default process group, with all ranks; `seconds` bound the meeting and every collective.

    Raises RuntimeError when the ranks do not meet in time.
    """
    place.choose_interface()
    dist.init_process_group(
        backend,
        store=PrefixStore("ranks", place.connect(seconds)),
        rank=place.rank,
        world_size=place.world_size,
        timeout=timedelta(seconds=seconds),
    )
