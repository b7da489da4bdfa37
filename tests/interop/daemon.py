"""A real gramd in a directory of its own. It can be stopped, killed, frozen and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Optional

GRAMD = Path(os.environ["BUILD"]) / "gramd"
DEADLINE = 60.0
"""Of a start and of an end, in seconds. A busy machine is slow."""


class Daemon:
    def __init__(self, directory: Path, *flags: str, program: Path = GRAMD) -> None:
        self._program = program
        self.data = directory / "data"
        self.socket = str(directory / "gramd.sock")
        self._flags = flags
        self._notify = str(directory / "notify.sock")
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._log = directory / "gramd.log"

    def start(self) -> None:
        """Returns when the daemon reports that it is ready."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            Path(self._notify).unlink(missing_ok=True)
            ready.bind(self._notify)
            ready.settimeout(DEADLINE)
            with open(self._log, "ab") as log:
                self._process = subprocess.Popen(
                    [self._program, "--data", self.data, "--socket", self.socket, *self._flags],
                    env={**os.environ, "NOTIFY_SOCKET": self._notify},
                    stderr=log,
                )
            try:
                while b"READY=1" not in ready.recv(4096):
                    pass
            except socket.timeout:
                raise AssertionError(f"gramd does not start:\n{self._log.read_text()}") from None

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Returns when the process has stopped."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ends the daemon with SIGTERM, also a frozen one. Each session is a single file afterwards."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        self.thaw()
        code = self._process.wait(DEADLINE)
        self._process = None
        assert code == 0, f"gramd ended with {code}:\n{self._log.read_text()}"
