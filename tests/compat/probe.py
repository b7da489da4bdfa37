"""A program of the Python package's users, run with the first version's package and with this one's.

probe.py talk SOCKET    as probe.c: writes and reads, prints "ready", waits for a line, reads and writes again
probe.py write SOCKET   makes a session in each dialect
probe.py read SOCKET    prints all that is in them, as JSON"""

import asyncio
import json
import sys
from typing import Any

import gramd
from gramd.records import FIELDS

DIALECTS = ("pyrogram", "hydrogram", "electrogram", "pyrofork", "kurigram", "irenogram", "telethon")
TURNS = 5
PEER = 4711


async def write_all(session: gramd.Session, value: int) -> None:
    await session.set(dc_id=4, api_id=1, test_mode=False, auth_key=bytes([value]) * 256, user_id=value, is_bot=True)
    await session.update_peers([(PEER, value, "user", "probe", "4930"), (-5, None, "group", None, None)])
    await session.update_usernames([(PEER, ["probe", "other"])])
    await session.update_states([(0, value, None, 1700000000, 3)])
    await session.save()


async def expect_all(session: gramd.Session, value: int) -> None:
    assert await session.get("dc_id", "auth_key", "user_id") == [4, bytes([value]) * 256, value]
    peer = await session.get_peer_by_username("probe", 0)
    assert (peer.id, peer.access_hash) == (PEER, value)
    assert list(await session.get_states()) == [(0, value, None, 1700000000, 3)]


async def own_id(client: gramd.Client) -> int:
    """The daemon's number of this connection."""
    [us] = await client.clients()
    return int(us["id"])


async def close_and_reopen(client: gramd.Client) -> None:
    """Each opening on one connection gets a handle of its own."""
    before = await own_id(client)
    kept = await client.open("kept")
    await write_all(kept, 5)
    for turn in range(1, TURNS):
        async with await client.open("turns", mode="exclusive") as session:
            await write_all(session, turn)
            await expect_all(session, turn)
    await expect_all(kept, 5)
    await kept.close()
    assert await own_id(client) == before, "the connection was lost though the daemon ran"


async def talk(client: gramd.Client) -> None:
    hello = await client.hello()
    assert (hello["server"], hello["protocol"]) == ("gramd", 1)
    await close_and_reopen(client)
    session = await client.open("probe", mode="exclusive", on_lost=lambda why: sys.exit(f"a session is lost: {why}"))
    await write_all(session, 7)
    await expect_all(session, 7)

    print("ready", flush=True)
    assert await asyncio.to_thread(sys.stdin.readline), "nobody said that the daemon is there again"

    await expect_all(session, 7)
    await write_all(session, 8)
    await expect_all(session, 8)
    await session.close()
    await close_and_reopen(client)


async def write(client: gramd.Client) -> None:
    for number, dialect in enumerate(DIALECTS, 1):
        async with await client.open(dialect, dialect=dialect) as session:
            await write_all(session, number)


async def read(client: gramd.Client) -> None:
    found: dict[str, Any] = {}
    for each in await client.sessions():
        async with await client.open(each["name"], create=False) as session:
            info = await session.info()
            values = dict(zip(FIELDS, await session.get(*FIELDS)))
            values["auth_key"] = values["auth_key"].hex()
            found[each["name"]] = {
                "dialect": info["dialect"],
                "version": info["version"],
                "fields": values,
                "peers": await session.scan_peers(),
                "usernames": await session.scan_usernames(),
                "states": await session.get_states(),
                "string": await session.export_string(),
            }
    print(json.dumps(found))


async def main(what: str, socket: str) -> None:
    async with gramd.Client(socket, name="probe") as client:
        await {"talk": talk, "write": write, "read": read}[what](client)


asyncio.run(main(*sys.argv[1:]))
