"""Calls of the kernel that Python's library does not have. A call that fails raises OSError."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import socket
import struct

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWNET = 0x20000, 0x4000000, 0x8000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

_MOUNT_SETATTR = 442  # on every processor
_AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = -100, 0x8000, 1
_PROCESSOR = platform.machine()
_CAPSET = {"x86_64": 126, "aarch64": 91}[_PROCESSOR]
_KEYCTL = {"x86_64": 250, "aarch64": 219}[_PROCESSOR]
_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP = 24
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)
    return result


def unshare(namespaces: int) -> None:
    _checked(_libc.unshare(namespaces), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    words = [word.encode() if word else None for word in (source, target, kind)]
    result = _libc.mount(*words, ctypes.c_ulong(flags), data.encode() if data else None)
    _checked(result, f"mount {source} {target}")


def set_read_only(path: str, read_only: bool) -> None:
    """The mount at `path`, and all below it."""
    bits = struct.pack("QQQQ", *((_MOUNT_ATTR_RDONLY, 0) if read_only else (0, _MOUNT_ATTR_RDONLY)), 0, 0)
    result = _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, path.encode(), _AT_RECURSIVE, bits, ctypes.c_size_t(len(bits)))
    _checked(result, f"mount_setattr {path}")


def prctl(option: int, argument: int = 0) -> None:
    unused = ctypes.c_ulong(0)
    _checked(_libc.prctl(option, ctypes.c_ulong(argument), unused, unused, unused), f"prctl {option}")


def empty_bounding_set() -> None:
    with contextlib.suppress(OSError):  # beyond the last capability
        for capability in range(64):
            prctl(_PR_CAPBSET_DROP, capability)


def give_up_capabilities() -> None:
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _checked(_libc.syscall(_CAPSET, header, bytes(24)), "capset")


def new_session_keyring() -> None:
    join = 1
    _checked(_libc.syscall(_KEYCTL, join, None), "keyctl")


def raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack("16xH22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
