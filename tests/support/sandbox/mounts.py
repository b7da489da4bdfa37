"""What a sandboxed service sees of the file system, in a mount namespace of its own."""

from __future__ import annotations

import os
from typing import NamedTuple

from kernel import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_SLAVE, mount, set_read_only

API = ("/dev", "/proc", "/sys")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
TEMPORARY = ("/tmp", "/var/tmp")
HOMES = ("/home", "/root", "/run/user")
MODULES = ("/lib/modules", "/usr/lib/modules")
TUNABLES = ("/proc/acpi", "/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/sys")
KERNEL_LOG = ("/proc/kmsg", "/dev/kmsg")
CONTROL_GROUPS = ("/sys/fs/cgroup",)
CREDENTIALS = "/run/credentials"


class Kept(NamedTuple):
    """A file or folder that is opened before something is mounted over it, and put back afterwards."""

    path: str
    fd: int
    is_writable: bool


def keep(path: str, is_writable: bool) -> Kept:
    return Kept(path, os.open(path, os.O_PATH | os.O_CLOEXEC), is_writable)


def detach() -> None:
    """What is mounted from now on is not seen outside."""
    mount("none", "/", flags=MS_REC | MS_SLAVE)


def protect_system() -> None:
    set_read_only("/", True)
    for path in API:
        set_read_only(path, False)


def private_temporary() -> None:
    for path in TEMPORARY:
        mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")


def no_homes(all_kept: list[Kept]) -> None:
    """What is kept below one can be reached."""
    for path in HOMES:
        if os.path.isdir(path):
            mode = 711 if any(kept.path.startswith(path + "/") for kept in all_kept) else 0
            mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode}")


def put_back(all_kept: list[Kept], hides_homes: bool) -> None:
    """Folders on the way that are hidden now are made, and anybody may pass through them."""
    for kept in all_kept:
        os.makedirs(kept.path, 0o755, exist_ok=True)
    for path in HOMES if hides_homes else ():
        if os.path.isdir(path):
            set_read_only(path, True)
    for kept in all_kept:
        mount(f"/proc/self/fd/{kept.fd}", kept.path, flags=MS_BIND | MS_REC)
        set_read_only(kept.path, not kept.is_writable)


def private_devices() -> None:
    made = os.open("/dev", os.O_PATH | os.O_CLOEXEC)
    old = f"/proc/self/fd/{made}"
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755")
    for name in DEVICES:
        os.close(os.open(f"/dev/{name}", os.O_CREAT, 0o666))
        mount(f"{old}/{name}", f"/dev/{name}", flags=MS_BIND)
    for folder in ("shm", "pts"):
        os.mkdir(f"/dev/{folder}")
        mount(f"{old}/{folder}", f"/dev/{folder}", flags=MS_BIND)
    os.close(made)


def private_processes(options: str) -> None:
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)


def read_only(paths: tuple[str, ...]) -> None:
    for path in paths:
        if os.path.exists(path):
            mount(path, path, flags=MS_BIND | MS_REC)
            set_read_only(path, True)


def inaccessible(paths: tuple[str, ...]) -> None:
    for path in paths:
        if os.path.isdir(path):
            mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=000")
        elif os.path.exists(path):
            mount("/dev/null", path, flags=MS_BIND)


def give_credentials(folder: str, credentials: dict[str, bytes], uid: int, gid: int) -> None:
    os.makedirs(folder, 0o700, exist_ok=True)
    mount("ramfs", folder, "ramfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=700")
    for name, content in credentials.items():
        path = os.path.join(folder, name)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o400)
        os.chown(path, uid, gid)
    os.chmod(folder, 0o500)
    os.chown(folder, uid, gid)
    set_read_only(folder, True)
