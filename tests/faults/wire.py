"""A client that speaks the protocol itself, on a blocking socket. Nothing is repeated: each request is sent once."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from typing import Any, Optional

import msgpack

ANSWER_S = 60.0


class WireError(Exception):
    """An error of the daemon."""

    def __init__(self, error: list[Any]) -> None:
        super().__init__(f"{error[0]}: {error[1]}")
        self.code = str(error[0])
        self.text = str(error[1])


class Disconnected(Exception):
    """The daemon has closed the connection."""


class Silent(Exception):
    """No answer in time."""


class Wire:
    def __init__(self, path: str, name: str = "") -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        self._unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
        self._answers: deque[list[Any]] = deque()
        self._unsent = b""
        self._last = 0
        self.notified: deque[list[Any]] = deque()
        try:
            self._socket.connect(path)
            if name:
                self.call("hello", {"client": name})
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, method: str, *params: Any) -> int:
        self._last += 1
        try:
            self._socket.sendall(msgpack.packb([0, self._last, method, list(params)]))
        except (BrokenPipeError, ConnectionResetError):
            raise Disconnected from None
        return self._last

    def send_as(self, number: int, method: str, *params: Any) -> None:
        """Sends a request with this msgid."""
        self._last = number - 1
        self.send(method, *params)

    def _read(self, seconds: float) -> bool:
        """Whether something arrived within that time."""
        if not select.select([self._socket], [], [], max(seconds, 0.0))[0]:
            return False
        try:
            data = self._socket.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Disconnected
        self._unpacker.feed(data)
        for message in self._unpacker:
            (self._answers if message[0] == 1 else self.notified).append(message)
        return True

    def limit_sends(self, seconds: float) -> None:
        """A send that takes longer raises TimeoutError, and may have sent a part."""
        self._socket.settimeout(seconds)

    def drop_answers(self, seconds: float) -> bool:
        """Reads, and keeps only notifications. Whether something arrived within that time."""
        arrived = self._read(seconds)
        self._answers.clear()
        return arrived

    def receive(self, seconds: float = ANSWER_S) -> Optional[list[Any]]:
        """The next answer: [1, msgid, error, result]. None: there was none in that time."""
        until = time.monotonic() + seconds
        while not self._answers:
            left = until - time.monotonic()
            if not self._read(left) and left <= 0:
                return None
        return self._answers.popleft()

    def call(self, method: str, *params: Any, seconds: float = ANSWER_S) -> Any:
        """The result. No other request may be unanswered."""
        number = self.send(method, *params)
        answer = self.receive(seconds)
        if answer is None:
            raise Silent(f"{method}: no answer within {seconds} s")
        if answer[1] != number:
            raise AssertionError(f"{method} is request {number}; the answer is to {answer[1]}")
        if answer[2] is not None:
            raise WireError(answer[2])
        return answer[3]

    def code(self, method: str, *params: Any, seconds: float = ANSWER_S) -> str:
        """The error's code, or an empty text."""
        try:
            self.call(method, *params, seconds=seconds)
        except WireError as error:
            return error.code
        return ""

    def open(self, session: str, **options: Any) -> int:
        handle: int = self.call("open", session, options)["session"]
        return handle
