"""Clients that write to file sessions, each pipelined in a thread of its own, and note what they have asked for.

What was answered, and when, is not noted here: the shim's record has the daemon's answers in their true order. A
client has keys of its own (peers, names, states, values; one client of a session also has its fields), and every
write gives them values that no other write has, except writes that repeat an earlier one. So a value that is found
tells which write it is from.
"""

from __future__ import annotations

import base64
import random
import struct
import threading
import time
from typing import Any, NamedTuple, Optional

from wire import Disconnected, Silent, Wire, WireError

Key = tuple[str, Any]

N_PEERS = 24
N_STATES = 6
N_VALUES = 8
N_BIG = 60
"""Rows of a batch that fills several pages."""

NOT_DONE = "not done"
"""The answer to a swap that found another value."""

FIELDS = ("api_id", "auth_key", "dc_id", "is_bot", "test_mode", "user_id")


class Plan(NamedTuple):
    session: str
    dialect: str
    clients: int
    deletes: bool  # deletes it and makes it anew, again and again
    """With one client only."""


PLANS = (
    Plan("shared-a", "pyrogram", 3, False),
    Plan("shared-b", "kurigram", 3, False),
    Plan("alone-a", "telethon", 1, False),
    Plan("alone-b", "pyrofork", 1, False),
    Plan("anew-a", "pyrogram", 1, True),
    Plan("anew-b", "irenogram", 1, True),
)


class Request:
    """`effects`: what the keys are after it. `code`, `answered`: from the record; None: not answered."""

    __slots__ = ("answered", "answered_ns", "client", "code", "effects", "life", "method", "number", "sent_ns")

    def __init__(self, client: int, life: Life, number: int, method: str, effects: dict[Key, Any]) -> None:
        self.client = client
        self.life = life
        self.number = number  # of its client in this life
        self.method = method
        self.effects = effects
        self.sent_ns = 0
        self.code: Optional[str] = None  # of the error; empty: it succeeded; NOT_DONE
        self.answered = 1 << 62  # how many entries of the record are before the answer, and it
        self.answered_ns = 1 << 62

    def succeeded_before(self, cut: int) -> bool:
        """It was answered without an error before that entry of the record."""
        return self.code == "" and self.answered <= cut

    def may_have_happened(self, cut: int) -> bool:
        """Before that entry of the record, which it was sent before. What is refused later may be in the file still."""
        return self.code in (None, "", "unavailable") or self.answered > cut

    def __repr__(self) -> str:
        return f"{self.method} {self.number} of client {self.client} ({self.code!r} at {self.answered})"


class Life:
    """A session from its creation to its deletion."""

    def __init__(self, session: str, number: int) -> None:
        self.session = session
        self.number = number
        self.opens: list[Request] = []
        self.deletes: list[Request] = []
        self.writes: dict[int, list[Request]] = {}


class Journal:
    """All that was asked for, by msgid. A client's requests are made by its thread alone."""

    def __init__(self) -> None:
        self.requests: dict[int, Request] = {}
        self.problems: list[str] = []
        self.lives: dict[str, list[Life]] = {plan.session: [Life(plan.session, 0)] for plan in PLANS}


class Numbered(Wire):
    """Its requests have the numbers that it is told."""

    def send_as(self, msgid: int, method: str, params: list[Any]) -> None:
        self._last = msgid - 1
        self.send(method, *params)


class Client(threading.Thread):
    def __init__(
        self, number: int, plan: Plan, first: bool, journal: Journal, path: str, seed: str, pause_s: float
    ) -> None:
        """`first`: it has the session's fields. `pause_s`: the longest pause between two bursts."""
        super().__init__(name=f"client {number}", daemon=True)
        self._number = number
        self._plan = plan
        self._first = first
        self._journal = journal
        self._path = path
        self._dice = random.Random(seed)
        self._pause_s = pause_s
        self._life = journal.lives[plan.session][0]
        self._wire: Optional[Numbered] = None
        self._handle = 0
        self._is_new = True  # nobody has opened it in this life
        self._version = 0
        self._last_msgid = 0
        self._before: list[tuple[str, list[Any], dict[Key, Any]]] = []
        self._values: dict[str, Optional[bytes]] = {}
        """What stands, if all writes are done."""
        self.stopping = threading.Event()
        self.failed: Optional[BaseException] = None
        self.n_answers: dict[str, int] = {}

    # ---- requests ----

    def _send(self, method: str, params: list[Any], effects: Optional[dict[Key, Any]] = None) -> Request:
        assert self._wire is not None
        self._last_msgid += 1
        msgid = self._number << 20 | self._last_msgid
        life = self._life
        writes = life.writes.setdefault(self._number, [])
        request = Request(self._number, life, len(writes), method, effects or {})
        if method in ("open", "delete"):
            (life.opens if method == "open" else life.deletes).append(request)
        elif effects is not None:
            writes.append(request)
        self._journal.requests[msgid] = request
        request.sent_ns = time.monotonic_ns()
        self._wire.send_as(msgid, method, params)
        return request

    def _receive(self, seconds: float = 60.0) -> list[Any]:
        assert self._wire is not None
        answer = self._wire.receive(seconds)
        if answer is None:
            raise Silent("no answer")
        code = answer[2][0] if answer[2] else "ok"
        self.n_answers[code] = self.n_answers.get(code, 0) + 1
        return answer

    def _call(self, method: str, params: list[Any]) -> Any:
        self._send(method, params)
        answer = self._receive()
        if answer[2] is not None:
            raise WireError(answer[2])
        return answer[3]

    # ---- writes ----

    def _peers(self, n: int) -> tuple[str, list[Any], dict[Key, Any]]:
        base = self._number * 1000
        ids = self._dice.sample(range(base, base + (N_PEERS if n <= N_PEERS else N_BIG)), n)
        version = self._version
        rows = [
            [id, version << 8 | n_row, "user", f"c{self._number}p{id}v{version}", str(version), version]
            for n_row, id in enumerate(ids)
        ]
        return "update_peers", [rows], {("peer", row[0]): tuple(row) for row in rows}

    def _names(self) -> tuple[str, list[Any], dict[Key, Any]]:
        base = self._number * 1000
        rows: list[Any] = []
        effects: dict[Key, Any] = {}
        for id in self._dice.sample(range(base, base + N_PEERS), self._dice.randint(1, 3)):
            names = [f"n{id}v{self._version}x{i}" for i in range(self._dice.randint(1, 3))]
            rows.append([id, names, self._version])
            effects["names", id] = tuple(names)
        return "update_usernames", [rows], effects

    def _states(self) -> tuple[str, list[Any], dict[Key, Any]]:
        base = self._number * 1000
        ids = self._dice.sample(range(base, base + N_STATES), self._dice.randint(1, 3))
        if self._dice.random() < 0.2:
            return "remove_states", [ids], {("state", id): None for id in ids}
        rows = [[id, self._version, self._version + 1, self._version + 2, n] for n, id in enumerate(ids)]
        return "update_states", [rows], {("state", row[0]): tuple(row) for row in rows}

    def _value(self) -> bytes:
        return f"{self._number}.{self._version} ".encode() * self._dice.choice((1, 1, 1, 10, 1000))

    def _put_values(self) -> tuple[str, list[Any], dict[Key, Any]]:
        rows: list[Any] = []
        for n in self._dice.sample(range(N_VALUES), self._dice.randint(1, 3)):
            rows.append([f"{self._number}/{n}", None if self._dice.random() < 0.2 else self._value()])
        self._values.update(rows)
        return "kv_set", [rows], {("value", key): value for key, value in rows}

    def _swap_value(self) -> tuple[str, list[Any], dict[Key, Any]]:
        key, value = f"{self._number}/{self._dice.randrange(N_VALUES)}", self._value()
        expected = self._values.get(key)
        self._values[key] = value
        return "kv_swap", [key, expected, value], {("value", key): value}

    def _set(self) -> tuple[str, list[Any], dict[Key, Any]]:
        fields = {"user_id": self._version, "api_id": self._version}
        return "set", [fields], {("field", name): value for name, value in fields.items()}

    def _import(self) -> tuple[str, list[Any], dict[Key, Any]]:
        key = struct.pack(">Q", self._version) * 32
        dc, test, bot = self._version % 5 + 1, self._version % 2, self._version // 2 % 2
        text = base64.urlsafe_b64encode(struct.pack(">BIB256sQB", dc, self._version, test, key, self._version, bot))
        values = (self._version, key, dc, bool(bot), bool(test), self._version)
        effects: dict[Key, Any] = {("field", name): value for name, value in zip(FIELDS, values, strict=True)}
        return "import_string", [text.decode().rstrip("="), {"overwrite": True}], effects

    def _make(self) -> tuple[str, list[Any], dict[Key, Any]]:
        self._version += 1
        at = self._dice.random()
        if at < 0.05 and self._before:
            return self._dice.choice(self._before)
        if self._first and at < 0.2:
            return self._set() if at < 0.13 else self._import() if at < 0.16 else ("save", [], {})
        if at < 0.6:
            return self._peers(self._dice.randint(1, 5) if at < 0.58 else N_BIG)
        if at < 0.75:
            return self._put_values() if at < 0.7 else self._swap_value()
        return self._names() if at < 0.85 else self._states()

    def _burst(self, n: int) -> None:
        """Writes, up to 24 under way."""
        under_way = 0
        for _ in range(n):
            method, params, effects = self._make()
            if method.startswith("update"):
                self._before = [*self._before[-7:], (method, params, effects)]
            self._send(method, [self._handle, *params], effects)
            under_way += 1
            if under_way >= 24 or self._dice.random() < 0.1:
                for _ in range(self._dice.randint(1, under_way)):
                    self._receive()
                    under_way -= 1
        for _ in range(under_way):
            self._receive()

    # ---- a life ----

    def _connect(self) -> None:
        while not self.stopping.is_set():
            try:
                self._wire = Numbered(self._path)
                return
            except OSError:
                time.sleep(0.01)

    def _open(self) -> None:
        refused = False
        while not self.stopping.is_set():
            request = self._send("open", [self._plan.session, {"dialect": self._plan.dialect}])
            error, result = self._receive()[2:]
            if error is not None:
                refused = refused or error[0] == "storage"
                time.sleep(0.05)
                continue
            self._handle = result["session"]
            if result["created"] and self._life.deletes:  # the deletion whose outcome was not known has happened
                self._life.opens.remove(request)
                self._new_life()
                request.life = self._life
                self._life.opens.append(request)
            elif not result["created"] and refused and self._is_new and self._plan.clients == 1:
                self._journal.problems.append(f"{self._plan.session}: an open that was refused has made it")
            self._is_new = False
            return
        raise Disconnected

    def _new_life(self) -> None:
        lives = self._journal.lives[self._plan.session]
        self._life = Life(self._plan.session, len(lives))
        self._is_new = True
        lives.append(self._life)
        self._before.clear()
        self._values.clear()

    def _end_life(self) -> None:
        try:
            self._call("delete", [self._handle])
            self._new_life()
        except WireError:
            self._leave()

    def _leave(self) -> None:
        try:
            self._call("close", [self._handle])
        except WireError:
            return

    def _round(self) -> None:
        for _ in range(self._dice.randint(1, 4)):
            self._burst(self._dice.choice((1, 3, 10, 40)))
            if self.stopping.wait(self._dice.random() * self._pause_s):
                raise Disconnected
        at = self._dice.random()
        if self._plan.deletes and at < 0.5:
            self._end_life()
            self._open()
        elif at < 0.5 and self._plan.clients == 1:
            self._leave()
            self.stopping.wait(self._dice.choice((0.0, 0.0, 0.3)))
            self._open()

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                try:
                    self._connect()
                    self._open()
                    while not self.stopping.is_set():
                        self._round()
                except Disconnected:
                    pass
                if self._wire is not None:
                    self._wire.close()
        except BaseException as error:
            self.failed = error
            raise


def clients(journal: Journal, path: str, seed: str, pause_s: float) -> list[Client]:
    made: list[Client] = []
    for plan in PLANS:
        for place in range(plan.clients):
            number = len(made) + 1
            made.append(Client(number, plan, place == 0, journal, path, f"{seed}/{number}", pause_s))
    return made
