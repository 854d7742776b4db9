"""Slurm with many virtual nodes of eight GPUs on this machine: the real daemons, as root, under a folder of its own."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
GPUS = 8
_CONFIG = """
ClusterName=virtual
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
JobRequeue=1
SlurmdTimeout=20
SlurmctldParameters=idle_on_node_suspend
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmctldLogFile={folder}/slurmctld.log
NodeName=DEFAULT CPUs=16 RealMemory=1000 Gres=gpu:{gpus}
NodeName=node[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}]
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Cluster:
    """A running one. `environment` leads Slurm's commands to it."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str) -> str:
        """What a command of Slurm's says; fails if it did."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """Of a job: RUNNING, PENDING, COMPLETED, ..."""
        words = dict(word.partition("=")[::2] for word in self.run("scontrol", "show", "job", "-o", job).split())
        return words["JobState"]


def missing() -> str:
    """What has to be there before a cluster can be started; empty if nothing."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"needs {', '.join(lacking)} (Debian: apt install slurm-wlm munge)" if lacking else ""


def wait_for(holds: Callable[[], bool], seconds: float, what: Callable[[], object] = lambda: "") -> None:
    """Waits until `holds`; fails with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


@contextmanager
def cluster(folder: Path, nodes: int) -> Iterator[Cluster]:
    """Starts one, until left."""
    with ExitStack() as stack:
        _start_munge(folder, stack)
        ports = _free_ports(nodes + 1)
        config = _CONFIG.format(
            folder=folder,
            host=socket.gethostname(),
            nodes=nodes,
            port=ports[0],
            first=ports[1],
            last=ports[-1],
            gpus=GPUS,
        )
        (folder / "slurm.conf").write_text(config)
        for number in range(GPUS):
            (folder / f"gpu{number}").touch()
        (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-{GPUS - 1}]\n")
        environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        _daemon(stack, ["slurmctld", "-D"], environment, folder / "slurmctld.out")
        for number in range(1, nodes + 1):
            (folder / f"spool.node{number}").mkdir()
            _daemon(stack, ["slurmd", "-D", "-N", f"node{number}"], environment, folder / f"slurmd.{number}.out")
        running = Cluster(folder, environment)
        wait_for(lambda: _idle(running) == nodes, 60, lambda: _logs(folder))
        yield running


def _logs(folder: Path) -> str:
    return "\n".join((folder / name).read_text()[-1500:] for name in ("slurmctld.out", "slurmd.1.out"))


def _start_munge(folder: Path, stack: ExitStack) -> None:
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    own = [f"--key-file={key}", f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid"]
    own += [f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"]
    _daemon(stack, ["munged", "--foreground", "--force", *own], dict(os.environ), folder / "munged.out")
    wait_for(lambda: (folder / "munge.socket").exists(), 10)


def _daemon(stack: ExitStack, words: list[str], environment: dict[str, str], log: Path) -> None:
    with log.open("wb") as output:
        process = subprocess.Popen(words, env=environment, stdout=output, stderr=subprocess.STDOUT)

    def end() -> None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)


def _idle(running: Cluster) -> int:
    done = subprocess.run(
        ["sinfo", "--noheader", "--states=idle", "--format=%D"],
        env=running.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return sum(int(line) for line in done.stdout.split() if line.isdigit())


def _free_ports(count: int) -> list[int]:
    """Neighbouring ports that are free now."""
    for first in range(21_000, 29_000, count):
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return list(range(first, first + count))
    raise AssertionError("no free ports")
