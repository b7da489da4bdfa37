"""A client with the Python package whose daemon is killed and started again all the time (restarts.py): the twin of
restart_client.c. A second client of the package in this process reads the same registers through its cache.

    restart_client.py SOCKET SESSION TIMEOUT_S"""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import struct
import sys
from collections.abc import Awaitable
from typing import Any, Optional

import gramd
from gramd import errors

ME = 2
FIRST_ROW = 2_000_000
ROWS = 2000
IN_FLIGHT = 16
REGISTERS = ("peer", "state", "field")


def session_string(user_id: int) -> str:
    """In Pyrogram's format."""
    packed = struct.pack(">BI?256sQ?", 2, 1, False, b"k" * 256, user_id, False)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


class Client:
    def __init__(self, socket: str, session: str, timeout: float) -> None:
        self.client = gramd.Client(socket, name="restart_client.py", timeout=timeout)
        self.reader = gramd.Client(socket, name="restart_reader.py", timeout=timeout)
        self.name = session
        self.sent = dict.fromkeys(REGISTERS, 0)
        self.answered = dict.fromkeys(REGISTERS, 0)
        self.rows: dict[int, int] = {}
        self.rows_answered: dict[int, int] = {}
        self.calls = self.faults = 0
        self.stopping = False

    def fault(self, what: str) -> None:
        self.faults += 1
        print(f"restart_client.py: {what}", file=sys.stderr)

    async def attempt(self, what: str, call: Awaitable[Any]) -> tuple[bool, Any]:
        self.calls += 1
        try:
            return True, await call
        except errors.Error as error:
            self.fault(f"{what}: {type(error).__name__}: {error}")
            return False, None

    # ---- registers ----

    async def write(self, register: str, session: gramd.Session) -> None:
        value = self.sent[register] = self.sent[register] + 1
        if register == "peer":
            call: Awaitable[Any] = session.update_peers([(ME, value, "user", None, None)])
        elif register == "state":
            call = session.update_states([(ME, value, 0, 0, 0)])
        else:
            call = session.set(takeout_id=value)
        if (await self.attempt(f"write {register}", call))[0]:
            self.answered[register] = max(self.answered[register], value)

    async def value(self, register: str, session: gramd.Session) -> Optional[int]:
        self.calls += 1
        try:
            if register == "peer":
                return (await session.get_peer_by_id(ME))[1] or 0
            if register == "state":
                rows = await session.get_states([ME])
                return rows[0][1] if rows else 0
            return (await session.get("takeout_id"))[0] or 0
        except errors.NotFound:
            return 0
        except errors.Error as error:
            self.fault(f"read {register}: {type(error).__name__}: {error}")
            return None

    async def read(self, register: str, session: gramd.Session) -> None:
        least = self.sent[register]  # it is sent behind that write
        value = await self.value(register, session)
        if value is not None and not least <= value <= self.sent[register]:
            self.fault(f"{register}: {value} was read; {least} to {self.sent[register]} is right")

    async def write_row(self, turn: int, session: gramd.Session) -> None:
        row = turn % ROWS
        self.rows[row] = turn + 1
        call = session.update_peers([(FIRST_ROW + row, turn + 1, "user", f"name{row}", None)])
        if (await self.attempt("write a row", call))[0]:
            self.rows_answered[row] = turn + 1

    async def check_rows(self, session: gramd.Session) -> None:
        for row, value in self.rows.items():
            if self.rows_answered.get(row) != value:
                self.fault(f"row {row}: the write of {value} was not answered")
            good, peer = await self.attempt("read a row", session.get_peer_by_id(FIRST_ROW + row))
            if good and peer[1] != value:
                self.fault(f"row {row}: {peer[1]} was read instead of {value}")

    # ---- tasks ----

    async def use(self, session: gramd.Session, worker: int) -> None:
        """One of the requests that are under way at a time."""
        turn = worker
        while not self.stopping:
            register = REGISTERS[turn % 3]
            await asyncio.gather(self.write(register, session), self.read(register, session))
            await self.write_row(turn, session)
            turn += IN_FLIGHT // 2

    async def temporary(self) -> None:
        """Sessions of its own: made, imported into, filled, closed, found, deleted, gone."""
        number = 0
        while not self.stopping:
            number += 1
            name = f"temporary-py-{number % 3}"
            good, session = await self.attempt("open, which creates", self.client.open(name))
            if not good:
                continue
            await self.attempt("import_string", session.import_string(session_string(number), overwrite=True))
            await self.attempt("a new session", session.update_peers([(number, number, "user", None, None)]))
            await self.attempt("save", session.save())
            await session.close()
            good, session = await self.attempt("open", self.client.open(name, create=False, wait=1))
            if not good:
                continue
            good, peer = await self.attempt("read a new session", session.get_peer_by_id(number))
            if good and peer[1] != number:
                self.fault(f"new session {name}: {peer[1]} was read instead of {number}")
            good, fields = await self.attempt("read a new session", session.get("user_id", "dc_id"))
            if good and list(fields) != [number, 2]:
                self.fault(f"new session {name}: {fields} was read instead of {[number, 2]}")
            await self.attempt("delete", session.delete())
            try:
                self.calls += 1
                await (await self.client.open(name, create=False)).close()
                self.fault(f"{name} is there after its deletion")
            except errors.NotFound:
                pass
            except errors.Error as error:
                self.fault(f"open of what was deleted: {type(error).__name__}: {error}")
            await asyncio.sleep(0.05)

    async def read_cached(self) -> None:
        """Another client: its values never fall. It may be behind."""
        good, session = await self.attempt("open", self.reader.open(self.name, wait=10, cache=True))
        known = dict.fromkeys(REGISTERS, 0)
        while good and not self.stopping:
            for register in REGISTERS:
                value = await self.value(register, session)
                if value is not None and value > self.sent[register]:
                    self.fault(f"{register}: the cache has {value}, which was never sent")
                if value is not None and value < known[register]:
                    self.fault(f"{register}: {value} was read after {known[register]}")
                known[register] = value or 0
            await asyncio.sleep(0.005)

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stop)
        good, session = await self.attempt("open", self.client.open(self.name, wait=10))
        if good:
            users = [self.use(session, worker) for worker in range(IN_FLIGHT // 2)]
            await asyncio.gather(*users, self.temporary(), self.read_cached())
            await self.check_rows(session)
        await self.client.close()
        await self.reader.close()

    def stop(self) -> None:
        self.stopping = True


async def main(socket: str, session: str, timeout_s: str) -> int:
    client = Client(socket, session, float(timeout_s))
    await client.run()
    print(json.dumps({"calls": client.calls, "faults": client.faults, **client.answered}))
    return 1 if client.faults else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
