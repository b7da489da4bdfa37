"""A session's life, while something fails: its creation, each kind of write, the close, the recovery, the deletion. Every
answer is held against what is read, at once and after the daemon's death."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional, Protocol

import ledger
from daemon import READY_S, Daemon, Failed
from ledger import Ledger, Untrue
from wire import Disconnected, Silent, Wire, WireError

NAME = "life"
PATIENCE_S = 0.5
"""So long a request may wait before a lasting fault is ended."""
REFUSALS = ("storage", "unavailable")


class Fault(Protocol):
    """What fails."""

    @property
    def met(self) -> int:
        """How often it has happened."""

    def clear(self) -> None:
        """It is over."""


class Life:
    """One daemon, one session, one client. Nothing else happens."""

    def __init__(
        self,
        daemon: Daemon,
        rule: Fault,
        *,
        dialect: str = "pyrogram",
        lasting: bool = False,
        patience: int = 3,
        may_disconnect: bool = False,
    ) -> None:
        """`lasting`: the fault is ended when so many requests have been refused, or one waits. `may_disconnect`: the
        daemon may close connections because of it."""
        self.daemon = daemon
        self.rule = rule
        self.dialect = dialect
        self.lasting = lasting
        self.patience = patience
        self.may_disconnect = may_disconnect
        self.ledger = Ledger()
        self.wire: Optional[Wire] = None
        self.handle: Optional[int] = None
        self.value = 0
        self.acknowledged = 0
        self.refused = 0

    # ---- the daemon ----

    def start(self) -> None:
        """It may refuse to start while the disk fails. It says why."""
        try:
            self.daemon.start()
        except Failed:
            process = self.daemon.process
            if self.rule.met == 0 or process is None or process.returncode not in (1, 2):
                raise
            self.rule.clear()
            self.daemon.process = None
            self.daemon.start()
        self.connect()

    def connect(self) -> None:
        """With a fault that makes the daemon close connections, until it is over."""
        self.handle = None
        until = time.monotonic() + READY_S
        for attempt in itertools.count():
            try:
                self.wire = Wire(self.daemon.socket, "life" if attempt % 2 == 0 else "")
                return
            except (Disconnected, WireError, ConnectionRefusedError):
                self.daemon.expect_alive()
                if self.rule.met == 0 or time.monotonic() > until:
                    raise
                if attempt > 20:
                    self.rule.clear()
                time.sleep(0.01)

    def kill(self) -> None:
        if self.wire:
            self.wire.close()
        self.daemon.kill()
        self.start()

    def stop(self) -> None:
        if self.wire:
            self.wire.close()
        self.daemon.stop()

    # ---- requests ----

    def call(self, method: str, *params: Any) -> tuple[str, Any]:
        """The error's code or an empty text, and the result. A fault that makes it wait is ended."""
        assert self.wire is not None
        try:
            number = self.wire.send(method, *params)
            answer = self.wire.receive(PATIENCE_S)
            if answer is None:
                if self.rule.met:  # else it is only slow
                    self.rule.clear()
                answer = self.wire.receive(READY_S)
        except Disconnected:
            return self._cut_off(), None
        if answer is None:
            raise Silent(f"{method}: no answer")
        if answer[1] != number:
            raise AssertionError(f"the answer to {answer[1]} instead of {number}")
        if answer[2] is None:
            return "", answer[3]
        code, text = answer[2][:2]
        self.refused += 1
        if self.lasting and self.refused >= self.patience:
            self.rule.clear()
        if code in REFUSALS and self.rule.met == 0:
            raise Untrue(f"{method} is answered {code} ({text}) before anything has failed")
        return code, None

    def _cut_off(self) -> str:
        """The daemon has closed the connection. It may do that when memory is short."""
        self.daemon.expect_alive()
        if not self.may_disconnect or self.rule.met == 0:
            raise Disconnected("the daemon has closed the connection")
        assert self.wire is not None
        self.wire.close()
        self.refused += 1
        if self.lasting and self.refused >= self.patience:
            self.rule.clear()
        self.connect()
        return "unavailable"

    def expect_refusal(self, method: str, code: str) -> None:
        if code not in REFUSALS:
            raise Untrue(f"{method} is answered {code}")

    def open(self, create: bool = False) -> bool:
        """Whether there is a handle."""
        if self.handle is not None:
            return True
        code, result = self.call("open", NAME, {"create": create, "dialect": self.dialect})
        if not code:
            self.ledger.created() if create else self.ledger.found()
            self.handle = result["session"]
        elif code == "not_found" and not create:
            self.ledger.absent()
        else:
            self.expect_refusal("open", code)
            if create and code == "unavailable" and None in self.ledger.possible:
                self.ledger.may_be_created()
        return self.handle is not None

    def write(self, make: Callable[[int], ledger.Write]) -> None:
        if not self.open():
            return
        self.value += 1
        method, params, change = make(self.value)
        code, result = self.call(method, self.handle, *params)
        if not code:
            self.acknowledged += 1
            self.ledger.happened(change, result)
            return
        self.expect_refusal(method, code)
        if code == "unavailable":
            self.ledger.may_have_happened(change)

    def swap(self, value: int) -> ledger.Write:
        return ledger.swap_value(value, self.ledger.value("s"))

    def read(self) -> bool:
        if not self.open():
            return False
        assert self.wire is not None
        try:
            self.ledger.seen(ledger.read(self.wire, self.handle or 0))
        except WireError as error:
            self.expect_refusal("a read", error.code)
            if self.rule.met == 0:
                raise Untrue(f"a read is answered {error} before anything has failed") from None
            return False
        except Disconnected:
            self._cut_off()
            return False
        return True

    def close(self) -> None:
        if self.handle is None:
            return
        code, _ = self.call("close", self.handle)
        if code and self.handle is not None:
            raise Untrue(f"close is answered {code}")
        self.handle = None
        until = time.monotonic() + 0.2
        while list(self.daemon.data.glob("*-wal")) and time.monotonic() < until:
            time.sleep(0.002)

    def delete(self) -> None:
        if not self.open():
            return
        code, _ = self.call("delete", self.handle)
        if not code:
            self.acknowledged += 1
            self.ledger.happened(None)
            self.handle = None
            return
        self.expect_refusal("delete", code)
        if code == "unavailable":
            self.ledger.may_have_happened(None)
        if self.handle is None:
            return
        # The handle has ended if the session has gone.
        code, _ = self.call("info", self.handle)
        if code == "bad_session":
            self.handle = None
        elif code:
            self.expect_refusal("info", code)

    # ---- the life ----

    def live(self) -> None:
        self.start()
        self.open(create=True)
        for make in (ledger.set_fields, ledger.put_peers, ledger.put_names, ledger.put_states, ledger.import_string):
            self.write(make)
        self.read()
        self.write(ledger.save)
        self.write(ledger.put_values)
        self.write(lambda value: ledger.put_peers(value, 4, 8))
        self.write(ledger.remove_states)
        self.write(self.swap)
        self.close()
        self.read()
        self.write(ledger.put_peers)
        self.write(self.swap)
        self.write(ledger.set_fields)
        self.kill()
        self.read()
        self.write(ledger.put_values)
        self.write(ledger.put_names)
        self.stop()
        self.start()
        self.read()
        self.write(ledger.put_states)
        self.write(ledger.put_values)
        self.delete()
        self.open(create=True)
        self.write(ledger.set_fields)
        self.write(ledger.put_peers)
        self.write(self.swap)
        self.close()
        self.read()

    def heal(self) -> None:
        """The disk is well again: within a time everything works."""
        self.rule.clear()
        until = time.monotonic() + READY_S
        why = ""
        while True:
            try:
                self._use()
                return
            except WireError as error:
                why = str(error)
            except Disconnected:
                self._cut_off()
            if time.monotonic() > until:
                raise Failed(f"the fault has ended {READY_S} s ago, and still: {why}")
            time.sleep(0.05)

    def _use(self) -> None:
        """Raises WireError."""
        assert self.wire is not None
        if self.handle is None:
            result = self.wire.call("open", NAME, {"dialect": self.dialect})
            if result["created"]:
                self.ledger.absent()
            self.ledger.created()
            self.handle = result["session"]
        self.ledger.seen(ledger.read(self.wire, self.handle))
        makers = (ledger.set_fields, ledger.put_peers, ledger.put_names, ledger.put_states, ledger.put_values)
        for make in (*makers, self.swap):
            self.value += 1
            method, params, change = make(self.value)
            try:
                result = self.wire.call(method, self.handle, *params, seconds=READY_S)
            except WireError as error:
                if error.code == "unavailable":
                    self.ledger.may_have_happened(change)
                raise
            self.acknowledged += 1
            self.ledger.happened(change, result)
        self.ledger.seen(ledger.read(self.wire, self.handle))

    def check(self) -> None:
        """All of it once more, after a death and after an orderly end."""
        self.heal()
        self.kill()
        if not self.read():
            raise Failed("after the restart the session cannot be read")
        self.stop()
        for path in self.daemon.data.glob("*.session*"):
            if path.suffix != ".session":
                raise Failed(f"an orderly end leaves {path.name}")
            expect_sound(path)
        self.start()
        self.read()
        self.delete()
        if None not in self.ledger.possible:
            raise Failed("the session cannot be deleted")
        self.stop()
        left = [path.name for path in self.daemon.data.glob("*.session*")]
        if left:
            raise Failed(f"the deletion leaves {left}")


def expect_sound(path: Path) -> None:
    """A file of the library's own kind, and intact."""
    head = path.read_bytes()[:100]
    if head[18:20] != b"\1\1" or head[68:72] != bytes(4):
        raise Failed(f"{path.name} is not as its library has it after an orderly end")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        result = db.execute("PRAGMA integrity_check").fetchall()
    if result != [("ok",)]:
        raise Failed(f"{path.name}: {result[:3]}")
