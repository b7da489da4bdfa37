"""Replaces Telegram's side of a Client: its connections succeed or fail as told, its answers are fixed. The rest,
from the library's Session upwards, is the real library."""

from __future__ import annotations

import importlib
from typing import Any

from library import lib, raw

ME = 777
KEY = bytes(range(256))
FAULTS: list[Exception] = []
"""The errors of the next connections, one each."""

session = importlib.import_module(f"{lib.__name__}.session")
session_module = importlib.import_module(f"{lib.__name__}.session.session")
auth_module = importlib.import_module(f"{lib.__name__}.session.auth")
REAL = {name: getattr(session_module.Session, name) for name in ("start", "stop", "restart", "invoke")}
"""What `patch` replaces."""


def me() -> Any:
    return raw.types.User(
        id=ME, is_self=True, access_hash=7770, first_name="Me", username="Myself", phone="49777"
    )


def answer(query: Any) -> Any:
    while hasattr(query, "query"):  # unwraps it
        query = query.query
    name = type(query).__name__
    if name == "GetState":
        return raw.types.updates.State(pts=1, qts=1, date=1700000000, seq=1, unread_count=0)
    if name == "LogOut":
        return True
    if name in ("ResolveUsername", "ResolvePhone"):
        return raw.types.contacts.ResolvedPeer(peer=raw.types.PeerUser(user_id=5), chats=[], users=[met()[0]])
    if name in ("GetUsers", "GetChats", "GetChannels"):
        return []
    raise AssertionError(f"{name} is not answered offline")


def met() -> list[Any]:
    """Users and chats as Telegram sends them."""
    photo = raw.types.ChatPhotoEmpty()
    chat = {"title": "t", "photo": photo, "date": 0}
    return [
        raw.types.User(id=5, access_hash=50, first_name="A", username="Alice", phone="4955"),
        raw.types.User(id=6, access_hash=60, first_name="B", bot=True, username="TheBot"),
        raw.types.User(id=7, access_hash=70, first_name="C"),
        raw.types.Chat(id=8, participants_count=2, version=1, **chat),
        raw.types.Channel(id=9, access_hash=90, broadcast=True, username="News", **chat),
        raw.types.Channel(id=10, access_hash=100, megagroup=True, **chat),
        raw.types.User(id=11, access_hash=0, first_name="D", min=True),
    ]


def patch() -> None:
    async def start(self: Any) -> None:
        if FAULTS:
            raise FAULTS.pop(0)
        await self.client.storage.api_id()  # as every real connection does

    async def nothing(self: Any, *_: Any, **__: Any) -> None:
        pass

    async def invoke(self: Any, query: Any, *_: Any, **__: Any) -> Any:
        return answer(query)

    async def create(self: Any) -> bytes:
        return KEY

    async def get_me(self: Any) -> Any:
        await self.fetch_peers([me()])
        return me()

    kind = session_module.Session
    kind.start, kind.stop, kind.restart, kind.invoke = start, nothing, nothing, invoke
    auth_module.Auth.create = create
    lib.Client.get_me = get_me
