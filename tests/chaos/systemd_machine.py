"""A real systemd as the first process of namespaces of its own, on this machine's files; as root.

Folders that it writes to are memory, the units of this machine are hidden, and services reach each other by loopback.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3.11"
ROLES = ("controller", "replay", "verifier")
# Nothing of this machine can be written to before systemd starts: what it does at a boot (it empties /tmp, for one) is
# not for this machine. What has to be writable is memory.
_BOOT = """
set -e
ip link set lo up
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/own
cp -r {folder}/etc /run/own/files
cp -a /etc /run/own/etc
mount --bind /run/own/etc /etc
for folder in /tmp /var /opt /root /home /mnt /etc/systemd/system /dev/shm; do
    [ ! -d $folder ] || mount -t tmpfs -o mode=755 tmpfs $folder
done
mkdir -p /var/lib /var/cache /var/log /var/tmp
# No generator and no unit that a boot of this machine would start.
for folder in /lib/systemd/system-generators /lib/systemd/system/*.wants /lib/systemd/system/*.requires; do
    [ ! -d $folder ] || mount -t tmpfs -o mode=755 tmpfs $folder
done
mkdir -p /opt/areal-mesh/.venv/bin /opt/areal-mesh/site /opt/areal-mesh/deploy
cp -r {root}/deploy/systemd/* /etc/systemd/system/
cp -r {root}/deploy/presets /opt/areal-mesh/deploy/presets
for folder in protos services clients; do
    mkdir /opt/areal-mesh/$folder && mount --bind {root}/$folder /opt/areal-mesh/$folder
    mount -o remount,bind,ro /opt/areal-mesh/$folder
done
mount --bind {site} /opt/areal-mesh/site
mount -o remount,bind,ro /opt/areal-mesh/site
program=/opt/areal-mesh/.venv/bin/areal-mesh
printf '#!/bin/sh\nexport PYTHONPATH={path}\nexec {python} -m areal_mesh.cli "$@"\n' >$program
chmod 755 $program
echo areal-mesh:x:10001:10001::/var/lib/areal-mesh:/usr/sbin/nologin >>/etc/passwd
echo areal-mesh:x:10001: >>/etc/group
mkdir -p /etc/areal-mesh && cp /run/own/files/* /etc/areal-mesh/
mkdir /etc/systemd/system/areal-mesh@.service.d
printf '[Service]\nWatchdogSec=4s\nTimeoutAbortSec=2s\n' >/etc/systemd/system/areal-mesh@.service.d/test.conf
for target in sysinit basic network-online; do
    printf '[Unit]\nDefaultDependencies=no\n' >/etc/systemd/system/$target.target
done
printf '[Unit]\nDefaultDependencies=no\nWants=systemd-journald.service\n' >/etc/systemd/system/test.target
# The control group that it is the root of, where it looks for all of them.
mount --bind {group} {groups}
mount -o remount,bind,ro /
mount -o remount,bind,ro /dev
mount -o remount,ro /proc/sys 2>/dev/null || {{ mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys; }}
for place in /usr {root}; do
    if touch $place/.written 2>/dev/null; then echo "$place can be written to; not started"; exit 1; fi
done
export container=unshare
exec /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no
"""
_ENTRIES = ("protos", "services", "clients", "site")


@dataclass(frozen=True)
class Machine:
    """A running one; `first` is its first process, as this machine numbers it."""

    first: int

    def run(self, *words: str, check: bool = True) -> str:
        """What a command says inside."""
        inside = ["nsenter", "--target", str(self.first), "--all", *words]
        done = subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 or not check, f"{words}: {done.stderr}{done.stdout}"
        return done.stdout.strip()

    def show(self, role: str, key: str) -> str:
        """A property of a role's unit."""
        return self.run("systemctl", "show", "--value", f"--property={key}", f"areal-mesh@{role}")


def missing() -> str:
    """What has to be there; empty if nothing."""
    if os.geteuid() != 0:
        return "needs root"
    lacking = [name for name in ("unshare", "nsenter", "ip", PYTHON, "/lib/systemd/systemd") if not shutil.which(name)]
    return f"needs {', '.join(lacking)} (Debian 12: apt install systemd iproute2 python3.11)" if lacking else ""


def wait_for(holds: Callable[[], bool], seconds: float, what: Callable[[], object] = lambda: "") -> None:
    """Waits until `holds`; fails with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


@contextmanager
def machine(folder: Path, site: Path, files: Sequence[tuple[str, str]]) -> Iterator[Machine]:
    """Boots one with `files` in /etc/areal-mesh, until left. `site`: packages of Python 3.11."""
    (folder / "etc").mkdir()
    for name, text in files:
        (folder / "etc" / name).write_text(text)
    path = ":".join(f"/opt/areal-mesh/{entry}" for entry in _ENTRIES)
    groups = Path("/sys/fs/cgroup/systemd" if Path("/sys/fs/cgroup/systemd").is_dir() else "/sys/fs/cgroup")
    group = groups / f"areal-mesh-{os.getpid()}"
    places = {"root": ROOT, "site": site, "folder": folder, "group": group, "groups": groups}
    (folder / "boot.sh").write_text(_BOOT.format(path=path, python=PYTHON, **places))
    group.mkdir()
    spaces = ["unshare", "--cgroup", "--pid", "--mount", "--ipc", "--uts", "--net", "--fork", "--mount-proc"]
    enter = f"echo $$ >{group}/cgroup.procs && exec {' '.join(spaces)} bash {folder}/boot.sh"
    with (folder / "boot.log").open("wb") as log:
        process = subprocess.Popen(["bash", "-c", enter], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: _first(process.pid) > 0, 20, lambda: (folder / "boot.log").read_text())
        running = Machine(_first(process.pid))
        wait_for(
            lambda: running.run("systemctl", "is-active", "test.target", check=False) == "active",
            30,
            lambda: (folder / "boot.log").read_text(),
        )
        yield running
    finally:
        first = _first(process.pid)
        if first:
            # With the first process of a namespace all others of it go.
            os.kill(first, signal.SIGKILL)
        process.wait(timeout=20)
        wait_for(lambda: _removed(group), 20)


def _first(unshare: int) -> int:
    """The first process of the namespaces: what unshare forked, once it is systemd."""
    children = Path(f"/proc/{unshare}/task/{unshare}/children")
    found = children.read_text().split() if children.exists() else []
    name = Path(f"/proc/{found[0]}/comm") if found else None
    return int(found[0]) if name is not None and name.exists() and name.read_text().strip() == "systemd" else 0


def _removed(group: Path) -> bool:
    """Removes a control group and those below it, which are empty once their processes are gone."""
    try:
        for below in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
            below.rmdir()
        group.rmdir()
    except OSError:
        return False
    return True
