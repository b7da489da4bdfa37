"""A small gramd in memory, for what a real one does not do on demand: close the connection before or after it
has executed a request, answer with any error, not answer, let a lease run out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from typing import Any, Optional

import msgpack

BEFORE, AFTER, SILENT, LATE = "close before", "close after", "do not answer", "answer after the next request"

FIELDS: dict[str, Any] = {
    "dc_id": 2, "api_id": None, "test_mode": None, "auth_key": None, "date": 0, "user_id": None,
    "is_bot": None, "server_address": None, "port": None, "takeout_id": None,
}  # fmt: skip


class Refusal(Exception):
    def __init__(self, code: str, detail: Any = None) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


class FakeGramd:
    def __init__(self, path: str) -> None:
        self.path = path
        self.sessions: dict[str, dict[str, Any]] = {}
        self.connections: list[_Connection] = []
        self.faults: list[tuple[str, Any]] = []  # (method, fault): each for one request
        self.seen: list[tuple[str, list[Any]]] = []  # executed requests, without handles
        self.msgids: list[tuple[str, int]] = []  # of all requests, also of those that a fault has hit
        self.lease: Optional[int] = None
        self.fence = 0
        self.open_lease: Optional[int] = None  # in the answer to `open`
        self.twins: list[str] = []  # `elsewhere` in the answer to an `open` that creates
        self.draining = False  # each `open` is refused
        self.features = ["a feature", "another"]
        self.older = False  # as the first version: `hello` takes one key, handles exceed 2^20
        self._server: Optional[asyncio.AbstractServer] = None

    async def __aenter__(self) -> FakeGramd:
        self.loop = asyncio.get_running_loop()
        self._server = await self.loop.create_unix_server(lambda: _Connection(self), self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        while self.connections:
            await asyncio.sleep(0)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Runs it in a thread with an event loop of its own."""
        started = threading.Event()
        stops: list[asyncio.Event] = []
        loop = asyncio.new_event_loop()

        async def serve() -> None:
            async with self:
                stops.append(asyncio.Event())
                started.set()
                await stops[0].wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        started.wait()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(stops[0].set)
            thread.join()
            loop.close()

    def methods(self) -> list[str]:
        """The executed methods, except those that clients call by themselves."""
        return [method for method, _ in self.seen if method not in ("hello", "watch", "lease", "get")]

    def take_fault(self, method: str) -> Any:
        for fault in self.faults:
            if fault[0] == method:
                self.faults.remove(fault)
                return fault[1]
        return None

    def notify(self, name: str, method: str, *params: Any, but: Any = None) -> None:
        for connection in self.connections:
            for handle, held in connection.handles.items():
                if held == name and (connection, handle) != but:
                    connection.send([2, method, [handle, *params]])


class _Connection(asyncio.Protocol):
    def __init__(self, fake: FakeGramd) -> None:
        self.fake = fake
        self.handles: dict[int, str] = {}
        self.opened = 0
        self.modes: dict[int, str] = {}
        self.late: list[list[Any]] = []
        self.unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.fake.connections.append(self)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.fake.connections.remove(self)

    def send(self, message: list[Any]) -> None:
        self.transport.write(msgpack.packb(message))

    def data_received(self, data: bytes) -> None:
        self.unpacker.feed(data)
        for _, identifier, method, params in self.unpacker:
            self.fake.msgids.append((method, identifier))
            fault = self.fake.take_fault(method)
            if fault == BEFORE:
                self.transport.abort()
                return
            if fault == SILENT:
                continue
            try:
                if isinstance(fault, Refusal):
                    raise fault
                result = self.execute(method, params)
            except Refusal as refusal:
                self.send([1, identifier, [refusal.code, f"{method}: {refusal.code}", refusal.detail], None])
            else:
                if fault == AFTER:
                    self.transport.abort()
                    return
                if fault == LATE:
                    self.late.append([1, identifier, None, result])
                    continue
                self.send([1, identifier, None, result])
                while self.late:
                    self.send(self.late.pop())

    def execute(self, method: str, params: list[Any]) -> Any:
        if method in ("hello", "ping", "open", "clients", "sessions", "stats"):
            self.fake.seen.append((method, params))
            return getattr(self, "do_" + method)(*params)
        handle, *rest = params
        if handle not in self.handles:
            raise Refusal("bad_session")
        self.fake.seen.append((method, rest))
        return getattr(self, "do_" + method)(handle, self.fake.sessions[self.handles[handle]], *rest)

    def do_hello(self, who: dict[str, Any]) -> dict[str, Any]:
        limits = {"max_message": 1 << 22, "max_in_flight": 4}
        hello = {"server": "gramd", "version": "fake", "protocol": 1, **limits}
        if not self.fake.older:
            return {**hello, "features": self.fake.features, "a key of tomorrow": {"of": ["any", 1, None]}}
        if who.keys() - {"client"}:
            raise Refusal("bad_request")
        return hello

    def do_clients(self) -> list[Any]:
        return [{"id": id(each)} for each in self.fake.connections]

    def do_ping(self, value: Any) -> Any:
        return value

    def do_sessions(self, glob: Any, options: dict[str, Any]) -> Any:
        return [{"name": name} for name in sorted(self.fake.sessions) if name > (options.get("after") or "")]

    def do_open(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        if self.fake.draining:
            raise Refusal("unavailable")
        created = name not in self.fake.sessions
        if created and not options.get("create", True):
            raise Refusal("not_found")
        holders = [m for c in self.fake.connections for h, m in c.modes.items() if c.handles[h] == name]
        if "exclusive" in holders or (holders and options["mode"] == "exclusive"):
            raise Refusal("busy", {"holder": {"client": "other", "pid": 7, "host": "elsewhere"}})
        if created:
            self.fake.sessions[name] = {"fields": dict(FIELDS), "peers": {}, "usernames": {}, "states": {}}
        handle = next(n for n in range(1, 1 << 20) if n not in self.handles)
        if self.fake.older and self.opened:
            handle += self.opened << 20
        self.opened += 1
        self.handles[handle], self.modes[handle] = name, options["mode"]
        dialect = options.get("dialect", "pyrogram")
        twins = {"elsewhere": self.fake.twins} if created and self.fake.twins else {}
        opened = {
            "session": handle,
            "created": created,
            "backend": options.get("backend", "file"),
            "dialect": dialect,
        }
        leased = {"fence": self.fake.fence, "lease": self.fake.open_lease}
        return {**opened, **leased, **twins, "version": 3, "a key of tomorrow": {}}

    def do_close(self, handle: int, session: Any) -> None:
        del self.handles[handle], self.modes[handle]

    def do_lease(self, handle: int, session: Any) -> Optional[int]:
        return self.fake.lease

    def do_watch(self, handle: int, session: Any, on: bool) -> None:
        pass

    def do_info(self, handle: int, session: Any) -> dict[str, Any]:
        name = self.handles[handle]
        return {
            "name": name,
            "handles": sum(name == n for c in self.fake.connections for n in c.handles.values()),
        }

    def do_save(self, handle: int, session: Any) -> None:
        session["fields"]["date"] = int(time.time())

    def do_chown(self, handle: int, session: Any, owner: Optional[str]) -> None:
        session["owner"] = owner

    def do_delete(self, handle: int, session: Any, options: Any) -> None:
        name = self.handles[handle]
        self.fake.notify(name, "ended", "not_found", "deleted")
        for connection in self.fake.connections:
            for held in [h for h, n in connection.handles.items() if n == name]:
                del connection.handles[held], connection.modes[held]
        del self.fake.sessions[name]

    def do_get(self, handle: int, session: Any, fields: list[str]) -> list[Any]:
        return [session["fields"][field] for field in fields]

    def do_set(self, handle: int, session: Any, fields: dict[str, Any]) -> None:
        session["fields"].update(fields)
        self.tell(handle, fields=list(fields))

    def do_import_string(self, handle: int, session: Any, text: str, options: Any) -> list[str]:
        session["fields"]["auth_key"] = text.encode()
        return ["auth_key"]

    def tell(self, handle: int, **what: Any) -> None:
        self.fake.notify(self.handles[handle], "changed", what, but=(self, handle))

    def do_update_peers(self, handle: int, session: Any, rows: list[list[Any]]) -> None:
        for row in rows:
            if len(row) == 4:
                row = [*row[:3], None, row[3]]
            session["peers"][row[0]] = [*row[:5], row[5] if len(row) > 5 else int(time.time())]
        self.tell(handle, peers=[row[0] for row in rows])

    def do_update_usernames(self, handle: int, session: Any, rows: list[list[Any]]) -> None:
        for peer_id, names in rows:
            session["usernames"][peer_id] = names
        self.tell(handle, usernames=[name for _, names in rows for name in names])

    def newest(self, found: list[list[Any]]) -> list[Any]:
        if not found:
            raise Refusal("not_found")
        return max(found, key=lambda row: row[5])

    def do_get_peer_by_id(self, handle: int, session: Any, peer_id: int) -> list[Any]:
        return self.newest([row for row in session["peers"].values() if row[0] == peer_id])

    def do_get_peer_by_username(
        self, handle: int, session: Any, name: str, max_age: int = 28800
    ) -> list[Any]:
        named = {peer_id for peer_id, names in session["usernames"].items() if name in names}
        row = self.newest([row for row in session["peers"].values() if row[3] == name or row[0] in named])
        if max_age and abs(time.time() - row[5]) > max_age:
            raise Refusal("expired")
        return row

    def do_get_peer_by_phone_number(self, handle: int, session: Any, phone: str) -> list[Any]:
        return self.newest([row for row in session["peers"].values() if row[4] == phone])

    def do_get_peers(self, handle: int, session: Any, ids: list[int]) -> list[Any]:
        return [session["peers"].get(peer_id) for peer_id in ids]

    def do_update_states(self, handle: int, session: Any, rows: list[list[Any]], keep: bool = False) -> None:
        for row in rows:
            stored = session["states"].get(row[0])
            if keep and stored:
                row = [old if new is None else new for new, old in zip(row, stored)]
            session["states"][row[0]] = row

    def do_get_states(self, handle: int, session: Any, ids: Optional[list[int]] = None) -> list[Any]:
        rows = [row for row in session["states"].values() if ids is None or row[0] in ids]
        return sorted(rows, key=lambda row: (row[3] is not None, row[3] or 0, row[0]))

    def do_remove_states(self, handle: int, session: Any, ids: list[int]) -> None:
        for each in ids:
            session["states"].pop(each, None)
