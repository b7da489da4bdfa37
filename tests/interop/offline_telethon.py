"""Replaces Telegram's side of a TelegramClient: its connections succeed or fail as told, its answers are fixed. The
rest, from the library's sender upwards, is the real library."""

from __future__ import annotations

import asyncio
import datetime
import importlib
from typing import Any

from own import MODULE

functions, types, errors, mtprotosender = (
    importlib.import_module(f"{MODULE}.{part}")
    for part in ("tl.functions", "tl.types", "errors", "network.mtprotosender")
)

KEY = bytes(range(256))
ME = 777


def user(number: int, **more: Any) -> Any:
    return types.User(number, access_hash=number * 10, **{"first_name": f"u{number}", **more})


def channel(number: int, title: str = "c", **more: Any) -> Any:
    return types.Channel(
        number, title=title, photo=types.ChatPhotoEmpty(), date=None, access_hash=number * 10, **more
    )


def chat(number: int, title: str = "g") -> Any:
    return types.Chat(
        number, title=title, photo=types.ChatPhotoEmpty(), participants_count=1, date=None, version=1
    )


def met(*who: Any) -> Any:
    users = [each for each in who if isinstance(each, types.User)]
    return types.contacts.ResolvedPeer(None, [each for each in who if each not in users], users)


def state(n: int) -> Any:
    date = datetime.datetime.fromtimestamp(1700000000 + n, tz=datetime.timezone.utc)
    return types.updates.State(pts=n, qts=n + 1, date=date, seq=n + 2, unread_count=0)


FAULTS: list[Exception] = []


def answer(request: Any) -> Any:
    while hasattr(request, "query"):
        request = request.query
    if isinstance(request, functions.help.GetConfigRequest):
        return None
    if isinstance(request, functions.updates.GetStateRequest):
        return state(1)
    if isinstance(request, functions.updates.GetDifferenceRequest):
        return types.updates.DifferenceEmpty(date=state(1).date, seq=3)
    if isinstance(request, functions.users.GetUsersRequest):
        if isinstance(request.id[0], types.InputUserSelf):
            return [user(ME, is_self=True, username="Myself", phone="49777")]
        return []
    if isinstance(request, functions.contacts.ResolveUsernameRequest):
        raise errors.UsernameNotOccupiedError(request)
    if isinstance(request, functions.auth.LogOutRequest):
        return types.auth.LoggedOut()
    if isinstance(request, functions.messages.GetDialogsRequest):
        return types.messages.Dialogs(
            [], [], [chat(8), channel(9, username="News")], [user(5, username="Alice")]
        )
    raise AssertionError(f"{type(request).__name__} is not answered offline")


def patch(put: Any = setattr) -> None:
    sender = mtprotosender.MTProtoSender

    async def connect(self: Any, connection: Any) -> bool:
        if FAULTS:
            raise FAULTS.pop(0)
        self.auth_key.key = self.auth_key.key or KEY
        self._MTProtoSender__disconnected = asyncio.get_running_loop().create_future()
        self._user_connected = True
        return True

    async def disconnect(self: Any) -> None:
        self._user_connected = False
        if not self._disconnected.done():
            self._disconnected.set_result(None)

    def send(self: Any, request: Any, ordered: bool = False) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        try:
            future.set_result(answer(request))
        except Exception as error:
            future.set_exception(error)
        return future

    put(sender, "connect", connect)
    put(sender, "disconnect", disconnect)
    put(sender, "send", send)
