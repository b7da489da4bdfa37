"""A host: a gramd with a data directory and a socket of its own, behind a proxy of its own. All run on one machine, so
they have one boot_id: the data directory tells them apart."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
from pathlib import Path
from typing import Optional

from history import Writer
from proxy import Proxy

READY_S = 60.0
"""How long a start or an orderly end may take."""

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """For a child, before its program starts: it does not outlive the driver."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Host:
    def __init__(
        self,
        number: int,
        directory: Path,
        server_port: int,
        term_s: float,
        history: Writer,
        dice: random.Random,
    ) -> None:
        self.number = number
        self.directory = directory
        self.socket = str(directory / "gramd.sock")
        self.proxy = Proxy(number, server_port, history, dice)
        self.preload: Optional[Path] = None
        """A library for the daemon."""
        self.layout = "own"
        self._term_s = term_s
        self._history = history
        self._process: Optional[asyncio.subprocess.Process] = None

    @property
    def runs(self) -> bool:
        return self._process is not None

    def note(self, what: str) -> None:
        self._history.put("host", h=self.number, what=what)

    async def prepare(self) -> None:
        self.directory.mkdir()
        await self.proxy.start()

    async def start(self) -> None:
        """Returns when the daemon reports that it is ready."""
        uri = f"mongodb://127.0.0.1:{self.proxy.port}/?directConnection=true&socketTimeoutMS={int(self._term_s * 1500)}"
        flags = ["--backend", "mongo", "--mongo", uri, "--mongo-term", str(self._term_s), "--mongo-layout", self.layout]
        notify = self.directory / "notify.sock"
        environment = {**os.environ, "NOTIFY_SOCKET": str(notify), "MONGOC_DISABLE_SHM": "1"}
        if self.preload:
            environment["LD_PRELOAD"] = str(self.preload)
            environment["ASAN_OPTIONS"] = f"{environment.get('ASAN_OPTIONS', '')}:verify_asan_link_order=0"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(self.directory / "gramd.log", "ab") as log:
            notify.unlink(missing_ok=True)
            ready.bind(str(notify))
            ready.setblocking(False)
            self._process = await asyncio.create_subprocess_exec(
                os.path.join(os.environ["BUILD"], "gramd"),
                "--data",
                str(self.directory / "data"),
                "--socket",
                self.socket,
                *flags,
                env=environment,
                stderr=log,
                preexec_fn=end_with_parent,
            )
            loop = asyncio.get_running_loop()
            while b"READY=1" not in await asyncio.wait_for(loop.sock_recv(ready, 4096), READY_S):
                pass
        self.note("ready")

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def freeze(self) -> None:
        self.note("freeze")
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self.note("thaw")

    async def kill(self) -> None:
        assert self._process is not None
        self.note("kill")
        self._signal(signal.SIGKILL)
        await self._process.wait()
        self._process = None

    async def end(self) -> None:
        """An orderly end. A proxy that holds may keep the daemon from it: then it is killed."""
        assert self._process is not None
        self.note("term")
        self._signal(signal.SIGTERM)
        try:
            code = await asyncio.wait_for(self._process.wait(), READY_S)
        except asyncio.TimeoutError:
            raise AssertionError(f"gramd on host {self.number} does not end; see {self.directory}/gramd.log") from None
        self._process = None
        if code != 0:
            raise AssertionError(f"gramd on host {self.number} ended with {code}; see {self.directory}/gramd.log")

    def died(self) -> Optional[int]:
        """The status of a daemon that has ended although nobody asked it to."""
        return None if self._process is None else self._process.returncode

    async def stop(self) -> None:
        """At the end of a run, whatever has happened."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._signal(signal.SIGCONT)
                self._signal(signal.SIGKILL)
            await self._process.wait()
        await self.proxy.stop()
