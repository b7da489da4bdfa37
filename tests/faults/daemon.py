"""A daemon with a data directory, a socket and a log of its own, which can be killed, frozen and started again."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional

READY_S = 120.0
"""How long a start, an orderly end or whatever else is waited for may take. A busy machine and a sanitizer are slow."""

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Failed(Exception):
    """The daemon did what it must not do."""


def compiled(directory: Path, source: Path, *flags: str) -> Path:
    """A program or, with -shared, a library of this folder, built into the test's directory."""
    program = directory / (source.stem + (".so" if "-shared" in flags else ""))
    if not program.exists():
        words = [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-Wall", "-Wextra", "-Werror"]
        subprocess.run([*words, "-o", str(program), str(source), *flags], check=True)
    return program


def library(directory: Path, source: Path) -> Path:
    """To be preloaded."""
    return compiled(directory, source, "-shared", "-fPIC", "-ldl")


def sanitized() -> bool:
    return bool(os.environ.get("SANITIZE"))


def preloading(variables: dict[str, str], libraries: Sequence[Path]) -> dict[str, str]:
    """The variables of a program that loads these first. A sanitizer's own library need not be the first then."""
    for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"):
        variables = {**variables, name: f"{variables.get(name, '')}:verify_asan_link_order=0"}
    return {**variables, "LD_PRELOAD": " ".join(map(str, libraries))}


class Daemon:
    def __init__(
        self,
        directory: Path,
        config: str = "",
        *,
        data: Optional[Path] = None,
        wrapper: Sequence[str] = (),
        preload: Sequence[Path] = (),
        environment: Optional[dict[str, str]] = None,
        open_files: int = 0,
        address_space: int = 0,
    ) -> None:
        """`wrapper`: words before the program's name. `open_files`, `address_space`: limits, 0: none."""
        self.directory = directory
        self.data = data or directory / "data"
        self.socket = str(directory / "gramd.sock")
        self.log_path = directory / "gramd.log"
        self.environment = environment or {}
        self.wrapper = list(wrapper)
        self.preload = list(preload)
        self.open_files = open_files
        self.address_space = address_space
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.config = config
        directory.mkdir(parents=True, exist_ok=True)

    def _variables(self, notify: Path) -> dict[str, str]:
        variables = {**os.environ, "NOTIFY_SOCKET": str(notify), "MONGOC_DISABLE_SHM": "1", **self.environment}
        return preloading(variables, self.preload) if self.preload else variables

    def _limit(self) -> None:
        """In the child."""
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if self.open_files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files, self.open_files))
        if self.address_space:
            resource.setrlimit(resource.RLIMIT_AS, (self.address_space, self.address_space))

    def start(self, wait: bool = True) -> None:
        """Returns when the daemon serves. Without `wait` at once."""
        assert self.process is None
        path = self.directory / "gramd.conf"
        path.write_text(self.config)
        notify = self.directory / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(self.log_path, "ab") as log:
            ready.bind(str(notify))
            ready.settimeout(0.05)
            words = [os.path.join(os.environ["BUILD"], "gramd"), "--config", str(path)]
            self.process = subprocess.Popen(
                [*self.wrapper, *words, "--data", str(self.data), "--socket", self.socket],
                env=self._variables(notify),
                stdin=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=self._limit,
            )
            until = time.monotonic() + READY_S
            while wait:
                try:
                    if b"READY=1" in ready.recv(4096):
                        return
                except TimeoutError:
                    self.expect_alive()
                    if time.monotonic() > until:
                        raise Failed("the daemon does not become ready") from None

    def __enter__(self) -> Daemon:
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None

    def expect_alive(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            raise Failed(f"the daemon has ended with {self.process.returncode}; its log ends:\n{self.log()[-6000:]}")

    def wait_for(self, what: str, condition: Callable[[], bool], seconds: float = READY_S) -> None:
        """Asks again until the condition holds."""
        until = time.monotonic() + seconds
        while not condition():
            self.expect_alive()
            if time.monotonic() > until:
                raise Failed(f"no {what} within {seconds:.0f} s")
            time.sleep(0.005)

    def kill(self) -> None:
        self.expect_alive()
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        """An orderly end."""
        self.expect_alive()
        assert self.process is not None
        self.process.terminate()
        try:
            status = self.process.wait(READY_S)
        except subprocess.TimeoutExpired:
            raise Failed("the daemon does not end") from None
        if status != 0:
            raise Failed(f"the daemon ended with {status}; its log ends:\n{self.log()[-6000:]}")
        self.process = None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self) -> None:
        """At the end of a test, whatever has happened."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    # ---- what it uses ----

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def status_kb(self, name: str) -> int:
        """A figure of /proc/PID/status: VmRSS, VmHWM, RssAnon."""
        return status_kb(self.pid, name)

    def n_open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def data_bytes(self, suffix: str = "") -> int:
        total = 0
        for entry in os.scandir(self.data):
            if entry.name.endswith(suffix):
                try:
                    total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    continue
        return total


def status_kb(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise KeyError(name)
