"""A made-up client library, for the tests of the storages."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from fake import FakeGramd

from gramd import family


class User(NamedTuple):
    user_id: int
    access_hash: Optional[int]


class Chat(NamedTuple):
    chat_id: int


class Channel(NamedTuple):
    channel_id: int
    access_hash: Optional[int]


class Connection:
    """A connection to Telegram."""

    stopped = False

    async def stop(self) -> None:
        self.stopped = True


class App:
    """A client with only what is needed to stop it."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.is_initialized = self.is_connected = True
        self.session = Connection()

    async def stop(self) -> None:
        await self.terminate()
        await self.disconnect()

    async def terminate(self) -> None:
        await self.storage.save()
        self.is_initialized = False

    async def disconnect(self) -> None:
        await self.storage.close()
        self.is_connected = False


class UpdateState(NamedTuple):
    id: int
    pts: Optional[int]
    qts: Optional[int]
    date: Optional[int]
    seq: Optional[int]


LIBRARY = family.Library(
    "pyrogram",
    App,
    User,
    Chat,
    Channel,
    lambda n: -1000000000000 - n,
    frozenset({"channel", "supergroup"}),
    "msgpack",  # some package that is installed
)


class ListStorage(family.Storage):
    """Of a library whose rows of peers have a list of usernames or `None`."""


def storage(kind: type[family.Storage], fake: FakeGramd, **options: Any) -> Any:
    library = LIBRARY._replace(lists=issubclass(kind, ListStorage))
    made = type("GramdStorage", (kind,), {"library": library, "state": UpdateState})
    return made("acc", socket=fake.path, **options)
