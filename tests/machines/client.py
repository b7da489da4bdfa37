"""A client of one host, as a process of its own: opens sessions, uses them as long as it has a lease, and leaves them
in one way or another. Its only argument is a JSON map; see driver.py. SIGTERM ends it in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any, Optional

from history import MS, SECOND, Writer, now
from store import REGISTERS, Opened, Store, StoreError, read_request, read_value, write_request

VALUES = (1, 2, 3)
"""Few, so that a value that is written often equals the one that was read."""

LEAVING = {"close": 55, "drop": 20, "kill": 15, "drop and wait": 10}
"""How a client leaves a session, and how often of a hundred times."""


class Hold:
    def __init__(self, name: str, session: str) -> None:
        self.name = name
        self.session = session
        self.opened: Optional[Opened] = None
        self.until = 0
        self.over = asyncio.Event()
        """The client is told that the session has ended, that it must leave, or that the connection is lost."""
        self.leave = False
        self.disconnected = False


class Client:
    def __init__(self, store: Store, about: dict[str, Any], calls: int, stopping: asyncio.Event) -> None:
        """`calls`: how many requests earlier clients of this process have made."""
        self._store = store
        self._about = about
        self._dice = random.Random(about["seed"])
        self._term = about["term_s"]
        self._deaf = about.get("deaf", False)
        fixed: dict[str, Any] = {"c": about["id"], "h": about["host"]}
        if store.library:
            fixed["lib"] = 1
        self._history = Writer(Path(about["history"]), **fixed)
        self._calls = calls
        self._stopping = stopping

    # ---- requests, with their events ----

    async def _call(self, hold: Hold, op: str, method: str, params: list[Any], **fields: Any) -> tuple[bool, Any]:
        """Whether it succeeded, and the answer or the error's code."""
        self._calls += 1
        number = self._calls
        opened = hold.opened
        fence = opened.fence if opened else 0
        self._history.put("call", n=number, op=op, s=hold.session, hold=hold.name, fence=fence, **fields)
        answer: dict[str, Any] = {"ok": False}
        result: Any = None
        try:
            if opened is None:
                wait = fields.get("wait", 0)
                told = self._told(hold)
                opened = await asyncio.wait_for(
                    self._store.open(hold.session, wait, told), wait / 1000 + 3 * self._term + 2
                )
                hold.opened = opened
            else:
                result = await asyncio.wait_for(opened.call(method, *params), 3 * self._term + 2)
            answer["ok"] = True
        except StoreError as error:
            answer["code"] = error.code
            if op == "read" and error.code == "not_found":
                answer["ok"] = True
        except asyncio.TimeoutError:
            answer["code"] = "timeout"
        if opened is not None:
            answer["fence"] = opened.fence
        if op == "read" and answer["ok"]:
            answer["value"] = result = None if "code" in answer else read_value(fields["reg"], result)
        if op == "info" and answer["ok"]:
            answer["fence"] = result["fence"]
        if op == "lease" and answer["ok"]:
            answer["ms"] = result
        self._history.put("ret", n=number, **answer)
        return answer["ok"], result if answer["ok"] else answer["code"]

    def _told(self, hold: Hold) -> Any:
        def told(what: str, code: str) -> None:
            if self._deaf:
                return
            self._history.put("told", hold=hold.name, what=what, code=code)
            hold.leave = what == "leave"
            hold.disconnected = what == "disconnected"
            hold.over.set()

        return told

    async def read(self, hold: Hold, register: str) -> tuple[bool, Any]:
        method, params = read_request(register)
        return await self._call(hold, "read", method, params, reg=register)

    async def write(self, hold: Hold, register: str, value: int) -> bool:
        method, params = write_request(register, value)
        return (await self._call(hold, "write", method, params, reg=register, value=value))[0]

    async def lease(self, hold: Hold) -> bool:
        sent = now()
        good, ms = await self._call(hold, "lease", "lease", [])
        if good:
            hold.until = sent + ms * MS
        return good

    # ---- one hold ----

    async def _keep_lease(self, hold: Hold) -> None:
        """Asks again and again. A library watches leases itself: what it believes is noted."""
        noted = 0
        while not hold.over.is_set():
            await self.lease(hold)
            assert hold.opened is not None
            until = hold.opened.library_lease()
            if until is not None and until != noted and not hold.over.is_set():
                noted = until
                self._history.put("lease", hold=hold.name, until=until)
            await asyncio.sleep(self._term * self._dice.uniform(0.03, 0.2))

    async def _read_for(self, hold: Hold, end: float, known: dict[str, Any]) -> None:
        while not hold.over.is_set() and now() < min(end, hold.until):
            register = self._dice.choice(REGISTERS)
            if self._dice.random() < 0.2:
                await self._call(hold, "info", "info", [])
            else:
                good, value = await self.read(hold, register)
                if good:
                    known[register] = value
            await asyncio.sleep(self._dice.uniform(0.002, 0.08))

    async def _write_one(self, hold: Hold, register: str, repeats: float, known: dict[str, Any]) -> bool:
        value = self._dice.choice(VALUES)
        if self._dice.random() < repeats:
            if known.get(register) is None:
                known[register] = (await self.read(hold, register))[1]
            value = known[register] if known[register] in VALUES else value
        return await self.write(hold, register, value)

    async def _write_for(self, hold: Hold, end: float, known: dict[str, Any]) -> None:
        """Half of what it writes equals what was read; in some holds, all. Some writes are sent together."""
        repeats = self._dice.choice((0.5, 0.5, 1.0))
        while not hold.over.is_set() and now() < min(end, hold.until):
            registers = self._dice.sample(REGISTERS, self._dice.choice((1, 1, 1, 4)))
            good = await asyncio.gather(*(self._write_one(hold, each, repeats, known) for each in registers))
            if not all(good):
                await self._call(hold, "info", "info", [])
            await asyncio.sleep(self._dice.uniform(0.002, 0.12))

    async def _use(self, hold: Hold, seconds: float) -> None:
        known: dict[str, Any] = {}
        end = now() + seconds * SECOND
        doing = [self._read_for(hold, end, known)]
        if self._dice.random() < 0.7:  # requests of one connection on one session wait for one another: some only read
            doing.append(self._write_for(hold, end, known))
        await asyncio.gather(*doing)

    async def _leave(self, hold: Hold) -> bool:
        """Whether the connection can be used on."""
        how = self._dice.choices(list(LEAVING), list(LEAVING.values()))[0]
        if self._stopping.is_set() or hold.leave:
            how = "close"
        elif hold.disconnected and how == "close":
            how = "drop and wait"
        if hold.leave:
            await self._call(hold, "save", "save", [])
        if how == "close":
            await self._call(hold, "close", "close", [])
            return True
        if how == "kill":
            self._history.put("exit")
            os.kill(os.getpid(), signal.SIGKILL)
        self._history.put("drop", hold=hold.name)
        self._store.drop()
        if how == "drop and wait":  # the program goes on using the key
            await asyncio.sleep(max(0.0, (hold.until - now()) / SECOND))
        return False

    async def _hold(self, session: str) -> bool:
        hold = Hold(f"{self._about['id']}.{self._calls}", session)
        wait = int(self._dice.uniform(0.5, 5) * self._term * 1000)
        good, why = await self._call(hold, "open", "", [], wait=wait)
        if not good:
            await asyncio.sleep(0.05)
            return why not in ("unsent", "disconnected")
        if not await self.lease(hold):
            hold.over.set()
        keeper = asyncio.ensure_future(self._keep_lease(hold))
        try:
            await self._use(hold, self._dice.choice((0.05, 0.3, 1.0, 2.0)) * self._term)
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        return await self._leave(hold)

    def end(self) -> int:
        """How many requests were made."""
        self._store.drop()
        if self._stopping.is_set():
            self._history.put("exit")  # its host may see that at once, and give away what this client left by `drop`
        self._history.close()
        return self._calls

    async def open(self, session: str, wait_s: float) -> Hold:
        """With its first lease. For what is not left to chance."""
        await self._store.connect()
        hold = Hold(f"{self._about['id']}.{self._calls}", session)
        good, why = await self._call(hold, "open", "", [], wait=round(wait_s * 1000))
        if not good:
            raise AssertionError(f"{session} cannot be opened: {why}")
        await self.lease(hold)
        return hold

    async def close(self, hold: Hold) -> None:
        await self._call(hold, "close", "close", [])

    async def go_on(self, hold: Hold, seconds: float) -> None:
        """Asks for the lease and reads, whatever the answers are."""
        end = now() + seconds * SECOND
        while now() < end and not hold.over.is_set():
            await self.lease(hold)
            await self.read(hold, "field:user_id")
            await asyncio.sleep(0.02)

    def drop(self, hold: Hold) -> None:
        self._history.put("drop", hold=hold.name)
        self._store.drop()

    async def read_everything(self, sessions: list[str], registers: tuple[str, ...]) -> None:
        for session in sessions:
            hold = await self.open(session, 20 * self._term)
            for register in registers:
                await self.read(hold, register)
            await self.close(hold)
            self._store.drop()

    async def run(self) -> None:
        """Until the connection is of no use any more."""
        await self._store.connect()
        while not self._stopping.is_set():
            if not await self._hold(self._dice.choice(self._about["sessions"])):
                return
            await asyncio.sleep(self._dice.uniform(0.0, 0.2) * self._term)


def new_store(about: dict[str, Any], dice: random.Random) -> Store:
    leaves = dice.random() < 0.85
    if about["kind"] == "package":
        from package_store import Package  # only here: the driver's check needs no package

        return Package(about["socket"], about["id"], 3 * about["term_s"], leaves)
    from wire_store import Wire

    return Wire(about["socket"], about["id"], leaves)


async def main(about: dict[str, Any]) -> None:
    dice = random.Random(about["seed"])
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    calls = 0
    while not stopping.is_set():
        client = Client(new_store(about, dice), {**about, "seed": dice.random()}, calls, stopping)
        try:
            await client.run()
        except StoreError:
            await asyncio.sleep(0.05)
        finally:
            calls = client.end()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
