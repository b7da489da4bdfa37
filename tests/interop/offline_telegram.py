"""Telegram's data centres, offline, for a Client of Pyrogram's family: its connections end here, and what it sends is
decrypted, answered and encrypted. Only the exchange that makes a new key is left out."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
import time
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Optional

import pytest

import offline
from library import lib, raw

aes, mtproto = (importlib.import_module(f"{lib.__name__}.crypto.{part}") for part in ("aes", "mtproto"))
core = importlib.import_module(f"{lib.__name__}.raw.core")

OWN_DC = 2
"""The data centre of a new login."""

SHORT = 0.5
"""Seconds after which the library repeats what a server did not answer."""

UNKNOWN_KEY = (-404).to_bytes(4, "little", signed=True)


class Telegram:
    """Counts what it is asked for."""

    def __init__(self, put: pytest.MonkeyPatch) -> None:
        self.keys: dict[int, dict[bytes, bytes]] = {}  # of each data centre, by their ids
        self.every_key: list[bytes] = []
        self.authorised: set[bytes] = set()
        self.refusals: dict[str, Any] = {}  # the answer to the next request of a name
        self.made: list[int] = []  # the data centres of new keys
        self.exports = 0
        self.connections: list[Connection] = []
        self.used: set[int] = set()  # the data centres to which something was sent
        self.is_away = False  # no connection to OWN_DC can be made
        self.tried = asyncio.Event()  # one was tried since this was cleared
        self.silent = ""  # what other data centres do not answer: the name of a request, or "connect"
        self.asked = asyncio.Event()  # for that
        self.go = asyncio.Event()
        self._last = 0
        telegram = self

        class There(Connection):
            def __init__(self, *given: Any, **named: Any) -> None:
                super().__init__(telegram, *given, **named)
                telegram.connections.append(self)

        async def create(auth: Any) -> bytes:
            return telegram.new_key(auth.dc_id)

        kind = offline.session_module.Session
        for name, method in offline.REAL.items():  # other tests have replaced them
            put.setattr(kind, name, method)
        put.setattr(kind, "START_TIMEOUT", SHORT)
        defaults = (SHORT if each == kind.WAIT_TIMEOUT else each for each in kind.invoke.__defaults__)
        put.setattr(kind.invoke, "__defaults__", tuple(defaults))
        put.setattr(offline.auth_module.Auth, "create", create)
        put.setattr(offline.session_module, "Connection", There, raising=False)
        self._connection = There

    def serve(self, app: Any) -> None:
        if hasattr(app, "connection_factory"):
            app.connection_factory = self._connection
        if hasattr(app, "get_dc_option"):

            async def option(dc_id: int, **_: Any) -> Any:
                return SimpleNamespace(ip_address="127.0.0.1", port=1)

            app.get_dc_option = option

    def counts(self) -> dict[str, Any]:
        return {"keys": self.made, "exports": self.exports}

    def connected(self) -> set[int]:
        """The data centres to which there are connections."""
        return {each._dc_id for each in self.connections if each.protocol.is_connected}

    def holds(self, dc_id: int, what: str) -> bool:
        if dc_id == OWN_DC or what != self.silent:
            return False
        self.asked.set()
        return True

    def new_key(self, dc_id: int) -> bytes:
        self.made.append(dc_id)
        key = os.urandom(256)
        self.every_key.append(key)
        self.keys.setdefault(dc_id, {})[hashlib.sha1(key).digest()[-8:]] = key
        return key

    def forget_keys(self, dc_id: int) -> None:
        self.keys.pop(dc_id)

    def answer(self, request: Any, dc_id: int, key: bytes) -> Any:
        while hasattr(request, "query"):
            request = request.query
        name = type(request).__name__
        if name in self.refusals and dc_id != OWN_DC:
            code, text = self.refusals.pop(name)
            return raw.types.RpcError(error_code=code, error_message=text)
        if name == "ExportAuthorization":
            self.exports += 1
            return raw.types.auth.ExportedAuthorization(id=offline.ME, bytes=b"for %d" % request.dc_id)
        if name == "ImportAuthorization":
            if request.bytes != b"for %d" % dc_id:
                return raw.types.RpcError(error_code=400, error_message="AUTH_BYTES_INVALID")
            self.authorised.add(key)
            return raw.types.auth.Authorization(user=raw.types.UserEmpty(id=offline.ME))
        if name == "GetFile":
            if key not in self.authorised:
                return raw.types.RpcError(error_code=401, error_message="AUTH_KEY_UNREGISTERED")
            return raw.types.upload.File(type=raw.types.storage.FileJpeg(), mtime=0, bytes=b"file")
        return raw.types.UserEmpty(id=offline.ME)

    def message_id(self) -> int:
        self._last = max(self._last + 4, int(time.time() * (1 << 32)) // 4 * 4 + 1)
        return self._last


class Connection:
    """The library's, to one data centre."""

    def __init__(self, telegram: Telegram, dc_id: int, *_: Any, **__: Any) -> None:
        self._telegram = telegram
        self._dc_id = dc_id
        self._packets: asyncio.Queue[Optional[bytes]] = asyncio.Queue()
        self.protocol = SimpleNamespace(crypto_executor=None, is_connected=True)

    async def connect(self) -> None:
        if self._dc_id == OWN_DC:
            self._telegram.tried.set()
            if self._telegram.is_away:
                await asyncio.sleep(0.001)
                raise OSError("the network is down")
        if self._telegram.holds(self._dc_id, "connect"):
            await self._telegram.go.wait()

    def close(self) -> Any:
        self.protocol.is_connected = False
        self._packets.put_nowait(None)
        closed = asyncio.get_running_loop().create_future()  # not every library awaits it
        closed.set_result(None)
        return closed

    def fail(self) -> None:
        self._packets.put_nowait(None)

    async def recv(self) -> Optional[bytes]:
        if not self.protocol.is_connected and self._packets.empty():
            return None
        return await self._packets.get()

    async def send(self, packet: bytes) -> None:
        if not self.protocol.is_connected:
            raise OSError("closed")  # the library may have encrypted the packet meanwhile
        self._telegram.used.add(self._dc_id)
        key = self._telegram.keys.get(self._dc_id, {}).get(packet[:8])
        if key is None:
            self._packets.put_nowait(UNKNOWN_KEY)
            return
        data = aes.ige256_decrypt(packet[24:], *mtproto.kdf(key, packet[8:24], True))
        message = core.Message.read(BytesIO(data[16:]))
        request = message.body
        asked = request
        while hasattr(asked, "query"):
            asked = asked.query
        held = self._telegram.holds(self._dc_id, type(asked).__name__)
        if held or type(request).__name__ in ("MsgsAck", "PingDelayDisconnect"):
            return
        if type(request).__name__ == "Ping":
            answer = raw.types.Pong(msg_id=message.msg_id, ping_id=request.ping_id)
        else:
            result = self._telegram.answer(request, self._dc_id, key)
            answer = raw.types.RpcResult(req_msg_id=message.msg_id, result=result)
        self._put(answer, data[8:16], key)

    def _put(self, answer: Any, session_id: bytes, key: bytes) -> None:
        number = 0 if type(answer).__name__ == "Pong" else 1  # a pong is not to be acknowledged
        message = core.Message(answer, self._telegram.message_id(), number, len(answer.write()))
        data = bytes(8) + session_id + message.write()
        data += os.urandom(-(len(data) + 12) % 16 + 12)
        msg_key = hashlib.sha256(key[96:128] + data).digest()[8:24]
        encrypted = aes.ige256_encrypt(data, *mtproto.kdf(key, msg_key, False))
        self._packets.put_nowait(hashlib.sha1(key).digest()[-8:] + msg_key + encrypted)
