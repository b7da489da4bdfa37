"""Filters of system calls as systemd makes them (src/shared/seccomp-util.c there), by libseccomp. Each directive is a
filter of its own: a call has to pass them all."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import subprocess
from collections.abc import Iterable
from typing import NamedTuple

ALLOW, KILL = 0x7FFF0000, 0x80000000
NOT_EQUAL, LESS_OR_EQUAL, EQUAL, GREATER_OR_EQUAL, MASKED_EQUAL = 1, 3, 4, 5, 7
LOW_HALF = 0xFFFFFFFF  # the kernel looks only at this half of an int

FAMILIES = range(46)
NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80)  # CLONE_NEW…
PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000


class Argument(NamedTuple):
    index: int
    test: int
    value: int
    other: int = 0


class _Comparison(ctypes.Structure):
    _fields_ = (("index", ctypes.c_uint), ("test", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


_library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
_library.seccomp_init.restype = ctypes.c_void_p


def refuse(error: int) -> int:
    return 0x50000 | error


class Filter:
    """What no rule names gets the `default`."""

    def __init__(self, default: int) -> None:
        self._context = ctypes.c_void_p(_library.seccomp_init(ctypes.c_uint32(default)))

    def add(self, action: int, name: str, *arguments: Argument) -> None:
        """A call that this processor or libseccomp does not know is left out, as systemd does."""
        number = _library.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return
        comparisons = (_Comparison * len(arguments))(*arguments)
        result = _library.seccomp_rule_add_array(
            self._context, ctypes.c_uint32(action), number, len(arguments), comparisons
        )
        if result < 0:
            raise OSError(-result, os.strerror(-result), f"seccomp rule for {name}")

    def load(self) -> None:
        result = _library.seccomp_load(self._context)
        if result < 0:
            raise OSError(-result, os.strerror(-result), "seccomp_load")


def _has(index: int, bits: int) -> Argument:
    return Argument(index, MASKED_EQUAL, bits, bits)


def _is(index: int, value: int) -> Argument:
    return Argument(index, MASKED_EQUAL, LOW_HALF, value)


def _groups() -> dict[str, list[str]]:
    """What systemd calls @NAME."""
    output = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"], check=True, capture_output=True, text=True
    ).stdout
    groups: dict[str, list[str]] = {}
    members: list[str] = []
    for line in output.splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.lstrip().startswith("#"):
            members.append(line.strip())
    return groups


def _expand(words: Iterable[str], groups: dict[str, list[str]]) -> set[str]:
    calls: set[str] = set()
    for word in words:
        calls |= _expand(groups[word], groups) if word.startswith("@") else {word}
    return calls


def system_calls(lines: list[str], refused: int) -> Filter:
    """SystemCallFilter=: the first line says whether what follows is allowed or refused; `~` is the contrary."""
    groups = _groups()
    allows = not lines[0].startswith("~")
    named: set[str] = set()
    for line in lines:
        calls = _expand(line.lstrip("~").split(), groups)
        named = named | calls if line.startswith("~") != allows else named - calls
    made = Filter(refused if allows else ALLOW)
    for call in sorted(named | _expand(["@default"], groups) if allows else named):
        made.add(ALLOW if allows else refused, call)
    return made


def without(words: Iterable[str]) -> Filter:
    made = Filter(ALLOW)
    for call in sorted(_expand(words, _groups())):
        made.add(refuse(errno.EPERM), call)
    return made


def address_families(names: Iterable[str]) -> Filter:
    allowed = {int(getattr(socket, name)) for name in names}
    made = Filter(ALLOW)
    for family in FAMILIES:
        if family not in allowed:
            made.add(refuse(errno.EAFNOSUPPORT), "socket", _is(0, family))
    made.add(refuse(errno.EAFNOSUPPORT), "socket", Argument(0, GREATER_OR_EQUAL, FAMILIES.stop))
    return made


def no_namespaces() -> Filter:
    made = Filter(ALLOW)
    for namespace in NAMESPACES:
        made.add(refuse(errno.EPERM), "unshare", _has(0, namespace))
        made.add(refuse(errno.EPERM), "clone", _has(0, namespace))
    made.add(refuse(errno.EPERM), "setns")
    made.add(refuse(errno.ENOSYS), "clone3")  # its flags are in memory; libraries fall back to clone
    return made


def no_realtime() -> Filter:
    made = Filter(ALLOW)
    for policy in (os.SCHED_FIFO, os.SCHED_RR, 4, 6):  # ISO, DEADLINE
        made.add(refuse(errno.EPERM), "sched_setscheduler", _is(1, policy))
    return made


def fixed_personality() -> Filter:
    made = Filter(ALLOW)
    made.add(refuse(errno.EPERM), "personality", Argument(0, NOT_EQUAL, 0))
    return made


def no_set_id_files() -> Filter:
    made = Filter(ALLOW)
    of_mode = (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("mkdir", 1), ("mkdirat", 2), ("mknod", 1), ("mknodat", 2))
    of_flags = (("open", 1), ("openat", 2))
    for bit in (stat.S_ISUID, stat.S_ISGID):
        for call, index in (*of_mode, ("creat", 1)):
            made.add(refuse(errno.EPERM), call, _has(index, bit))
        for call, index in of_flags:
            made.add(refuse(errno.EPERM), call, _has(index, os.O_CREAT), _has(index + 1, bit))
    made.add(refuse(errno.ENOSYS), "openat2")
    return made


def no_written_code() -> Filter:
    made = Filter(ALLOW)
    made.add(refuse(errno.EPERM), "mmap", _has(2, PROT_EXEC | PROT_WRITE))
    made.add(refuse(errno.EPERM), "mprotect", _has(2, PROT_EXEC))
    made.add(refuse(errno.EPERM), "pkey_mprotect", _has(2, PROT_EXEC))
    made.add(refuse(errno.EPERM), "shmat", _has(2, SHM_EXEC))
    return made
