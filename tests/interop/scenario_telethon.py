"""The real client of Telethon, from a new session on, on the library's own session or on gramd's: what the application
sees. Telegram's side is replaced."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from gramd.telethon import session_class

import offline_telethon
from offline_telethon import ME, functions, types
from outcome import outcome
from own import MODULE, lib


async def scenario(client: Any) -> list[str]:
    with pytest.MonkeyPatch.context() as patched:  # other tests are with the library's own sender
        offline_telethon.patch(patched.setattr)
        return await run(client)


async def run(client: Any) -> list[str]:
    seen: list[Any] = []
    for _ in range(2):
        await client.connect()
        seen.append(await client.get_me())
        await client(functions.messages.GetDialogsRequest(None, 0, types.InputPeerEmpty(), 0, 0))
        keys: list[Any] = [
            5,
            -8,
            -1000000000009,
            "alice",
            "@Alice",
            "news",
            "me",
            ME,
            12345,
            "nobody",
            "+49777",
        ]
        for key in keys:
            try:
                seen.append(await client.get_input_entity(key))
            except Exception as error:
                seen.append((type(error).__name__, str(error)))
        await client.disconnect()
    session = client.session
    seen += [session.dc_id, session.server_address, session.port, session.auth_key.key]
    seen += [outcome(session.get_input_entity, key) for key in (0, ME, 5, "alice")]
    seen.append(outcome(session.get_update_state, 0))
    session.close()
    return [str(each) for each in seen]


def client_with(session: Any) -> Any:
    client = lib.TelegramClient(session, 12345, "0" * 32)
    assert client.session is session
    return client


async def on_own(name: str, workdir: Path) -> list[str]:
    sessions = importlib.import_module(f"{MODULE}.sessions")
    return await scenario(client_with(sessions.SQLiteSession(str(workdir / name))))


async def on_gramd(name: str, workdir: Path, **options: Any) -> list[str]:
    return await scenario(client_with(session_class(MODULE)(name, **options)))


KEYS = ["id 5", "id -8", "id -1000000000009", "name alice", "auth_key"]
"""What the library finds in a file that it is given after `on_gramd`."""
