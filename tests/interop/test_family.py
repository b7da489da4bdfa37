"""The storages of Pyrogram's family, compared with the library's own."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import gramd
import pytest

import library
import sequence
from conftest import python
from daemon import Daemon
from library import NAME, GramdStorage, own_storage, raw

KEY = bytes(range(256))


async def identify(storage: Any) -> None:
    """Stores the identity of an account."""
    await storage.api_id(12345)
    await storage.dc_id(4)
    if library.ADDRESS:
        await storage.server_address("149.154.167.91")
        await storage.port(443)
    await storage.test_mode(False)
    await storage.auth_key(KEY)
    await storage.user_id(777)
    await storage.is_bot(False)
    await storage.date(0)


def test_which_library_this_is() -> None:
    assert GramdStorage.library.dialect == NAME
    assert issubclass(GramdStorage, library.BASE)
    assert not inspect.isabstract(GramdStorage)
    assert not hasattr(GramdStorage, "__len__") and bool(GramdStorage("x"))


def test_every_method_of_the_base_is_there() -> None:
    for name, method in vars(library.BASE).items():
        if inspect.iscoroutinefunction(method) and name != "export_session_string":
            assert getattr(GramdStorage, name) is not method, name


async def test_the_file_can_be_taken_out_and_in(daemon: Daemon, tmp_path: Path) -> None:
    look = [call for call in sequence.calls(5, 400) if call[0].startswith("get_")]
    around = [("open", ()), *look, ("save", ()), ("close", ())]
    await sequence.replay(GramdStorage("acc"), sequence.calls(5, 400))
    expected = await sequence.replay(GramdStorage("acc"), around)
    daemon.stop()
    out = await sequence.replay(own_storage("acc", daemon.data), around)
    assert out == expected
    (daemon.data / "acc.session").rename(daemon.data / "back.session")
    daemon.start()
    assert await sequence.replay(GramdStorage("back"), around) == expected


async def test_usernames_expire(daemon: Daemon, tmp_path: Path) -> None:
    storage = GramdStorage("acc")
    await storage.open()
    async with gramd.Client() as client, await client.open("acc") as session:
        for age in (-28900, 28900):
            then = int(time.time()) - age
            await session.update_peers([[1, 10, "user", "name", "491", then]])
            with pytest.raises(KeyError) as caught:
                await storage.get_peer_by_username("name")
            assert caught.value.args == ("Username expired: name",)
            assert (await storage.get_peer_by_phone_number("491")).user_id == 1
            assert (await storage.get_peer_by_id(1)).user_id == 1
        row = (1, 10, "user", "491") if library.LISTED_NAMES else (1, 10, "user", "name", "491")
        if library.LISTED_NAMES:
            await storage.update_usernames([(1, ["name"])])
        await storage.update_peers([row])
        for _ in range(2):
            assert (await storage.get_peer_by_username("name")).user_id == 1
        await session.update_peers([[1, 10, "user", "name", "491", int(time.time()) - 28000]])
        assert (await storage.get_peer_by_username("name")).user_id == 1
    await storage.close()


@pytest.mark.parametrize("cache", [True, False])
async def test_unusual_arguments(daemon: Daemon, cache: bool) -> None:
    storage = GramdStorage("acc", cache=cache)
    await storage.open()
    await storage.open()
    for text in ("me", "@Name", "+1555", "", "name", "1555 "):
        with pytest.raises(KeyError) as caught:
            await storage.get_peer_by_id(text)
        assert caught.value.args == (f"ID not found: {text}",)
    row = (-1001, None, "group", None) if library.LISTED_NAMES else (-1001, None, "group", None, None)
    await storage.update_peers([row])
    assert await storage.get_peer_by_id("-1001") == raw.types.InputPeerChat(chat_id=1001)
    assert isinstance(await storage.get_peer_by_id(-1001), raw.types.InputPeerChat)
    await storage.update_peers([])
    if hasattr(storage, "update_usernames"):
        await storage.update_usernames([])
    if hasattr(storage, "remove_state"):
        await storage.remove_state("@name")
    one, other = await storage.get_peer_by_id(-1001), await storage.get_peer_by_id(-1001)
    one.chat_id = 5
    assert other.chat_id == (await storage.get_peer_by_id(-1001)).chat_id == 1001
    await storage.save()
    assert abs(await storage.date() - time.time()) < 60
    await storage.close()
    await storage.delete()
    await storage.delete()
    async with gramd.Client() as client:
        with pytest.raises(gramd.NotFound):
            await client.open("acc", create=False)


if NAME == "electrogram":

    @pytest.mark.parametrize("cache", [True, False])
    async def test_bare_channel_ids_resolve(daemon: Daemon, cache: bool) -> None:
        storage = GramdStorage("acc", cache=cache)
        await storage.open()
        await storage.update_peers(
            [(-1000000000007, 70, "channel", "first", None), (8, 80, "user", None, None)]
        )
        await storage.update_usernames([(7, "first"), (7, "second"), (8, "third")])
        assert await storage.get_peer_by_username("second") == raw.types.InputPeerChannel(
            channel_id=7, access_hash=70
        )
        assert await storage.get_peer_by_username("third") == raw.types.InputPeerUser(
            user_id=8, access_hash=80
        )
        await storage.close()


if library.ADDRESS:

    async def test_an_address_for_a_file_without_one(daemon: Daemon) -> None:
        async with gramd.Client() as client, await client.open("acc", dialect="pyrogram") as session:
            await session.set(dc_id=4, test_mode=False)
        storage = GramdStorage("acc")
        await storage.open()
        assert (await storage.server_address(), await storage.port()) == ("149.154.167.91", 443)
        await storage.dc_id(5)
        assert await storage.server_address() == "91.108.56.130"
        await storage.close()


async def test_the_exported_string_is_the_same(daemon: Daemon, tmp_path: Path) -> None:
    own, mine = own_storage("own", tmp_path), GramdStorage("acc")
    strings = []
    for storage in (own, mine):
        await storage.open()
        with pytest.raises(struct.error):
            await storage.export_session_string()
        await identify(storage)
        strings.append(await storage.export_session_string())
        await storage.save()
        await storage.close()
    assert strings[0] == strings[1]
    imported = GramdStorage("other", session_string=strings[0])
    await imported.open()
    assert await imported.export_session_string() == strings[0]
    assert (await imported.date(), await imported.user_id(), await imported.dc_id()) == (0, 777, 4)
    await imported.user_id(778)
    await imported.close()
    await imported.open()  # the string is for a new session
    assert await imported.user_id() == 778
    await imported.close()


async def test_the_accessors_and_known_peers_cost_no_round_trip(daemon: Daemon) -> None:
    storage = GramdStorage("acc")
    await storage.open()
    row = (1, 10, "user", "491") if library.LISTED_NAMES else (1, 10, "user", "name", "491")
    await storage.update_peers([row])
    async with gramd.Client() as client:

        async def asked() -> int:
            [us] = [each for each in await client.clients() if "acc" in each["sessions"]]
            return int(us["requests"])

        before = await asked()
        for _ in range(5):
            for field in library.FIELDS:
                await getattr(storage, field)()
            await storage.get_peer_by_id(1)
            await storage.update_peers([row])
        assert await asked() == before
    await storage.close()


async def test_exclusive(daemon: Daemon) -> None:
    storage = GramdStorage("acc", mode="exclusive")
    await storage.open()
    with pytest.raises(gramd.Busy) as caught:
        await GramdStorage("acc").open()
    assert caught.value.holder is not None and str(caught.value.holder["pid"]) in str(caught.value)
    other = GramdStorage("acc", wait=10)
    waiting = asyncio.ensure_future(other.open())
    await asyncio.sleep(0)
    await storage.close()
    await waiting
    await other.close()


PEER = """
import asyncio, json, sys
import library
async def main():
    storage = library.GramdStorage("acc")
    await storage.open()
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        name, arguments = json.loads(line)
        try:
            result = str(await getattr(storage, name)(*arguments))
        except KeyError as error:
            result = f"KeyError {error.args[0]}"
        print(json.dumps(result), flush=True)
    await storage.close()
asyncio.run(main())
"""


async def test_two_processes_on_one_session(daemon: Daemon) -> None:
    storage = GramdStorage("acc")
    await storage.open()
    other = await asyncio.create_subprocess_exec(
        *python("-c", PEER),
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdin is not None and other.stdout is not None
    assert await other.stdout.readline() == b"ready\n"

    async def there(name: str, *arguments: Any) -> Any:
        assert other.stdin is not None and other.stdout is not None
        other.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
        return json.loads(await other.stdout.readline())

    def rows(n: int) -> list[tuple[Any, ...]]:
        return [(1, n, "user", f"49{n}") if library.LISTED_NAMES else (1, n, "user", f"name{n}", f"49{n}")]

    for n in range(0, 20, 2):
        await storage.update_peers(rows(n))
        for _ in range(2):
            assert f'"access_hash": {n}' in await there("get_peer_by_id", 1)
        assert "Phone number not found" in await there("get_peer_by_phone_number", f"49{n - 1}")
        await there("update_peers", rows(n + 1))
        for _ in range(2):
            assert (await storage.get_peer_by_id(1)).access_hash == n + 1
        with pytest.raises(KeyError):
            await storage.get_peer_by_phone_number(f"49{n}")
        if not library.LISTED_NAMES:
            assert (await storage.get_peer_by_username(f"name{n + 1}")).access_hash == n + 1
            with pytest.raises(KeyError):
                await storage.get_peer_by_username(f"name{n}")
        await there("user_id", n)
        assert await storage.user_id() == n
    other.stdin.close()
    assert await other.wait() == 0
    await storage.close()


def test_two_event_loops_one_after_the_other(daemon: Daemon) -> None:
    storages = [GramdStorage("acc", mode="exclusive")]

    async def life(dc_id: int) -> int:
        [storage] = storages
        await storage.open()
        before: int = await storage.dc_id()
        await storage.dc_id(dc_id)
        return before

    with pytest.warns(ResourceWarning, match="unclosed"):  # asyncio warns of open transports
        assert [asyncio.run(life(dc_id)) for dc_id in (4, 5, 1)] == [2, 4, 5]
        asyncio.run(storages[0].close())
        storages.clear()
        gc.collect()


FORK = """
import asyncio, os
import library
row = (1, 10, "user", "491") if library.LISTED_NAMES else (1, 10, "user", None, "491")

async def child(storage):
    await storage.open()
    assert (await storage.get_peer_by_id(1)).access_hash == 10
    await storage.update_peers([(1, 11, *row[2:])])
    await storage.close()

async def main():
    storage = library.GramdStorage("acc")
    await storage.open()
    await storage.update_peers([row])
    pid = os.fork()
    if pid == 0:
        asyncio.run(child(storage))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    await storage.user_id(777)
    assert (await storage.get_peer_by_id(1)).access_hash == 11
    await storage.close()

asyncio.run(main())
"""


def test_a_forked_child(daemon: Daemon) -> None:
    done = subprocess.run(python("-c", FORK), cwd=Path(__file__).parent, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize("cache", [True, False])
async def test_the_daemon_is_killed_while_bots_run(daemon: Daemon, cache: bool) -> None:
    storage = GramdStorage("acc", cache=cache)
    await storage.open()
    await identify(storage)
    stop = asyncio.Event()
    written = [0] * 4

    async def bot(mine: int) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            peer_id = mine * 100000 + n
            row = (peer_id, n, "user", None) if library.LISTED_NAMES else (peer_id, n, "user", None, None)
            await storage.update_peers([row])
            written[mine] = n
            assert (await storage.get_peer_by_id(peer_id)).access_hash == n
            assert await storage.user_id() == 777
            if library.TUPLE_STATES:
                await storage.update_state((mine, n, None, None, None))
            if library.OBJECT_STATES:
                await storage.set_update_state(library.lib.storage.UpdateState(mine, n, None, None, None))

    bots = [asyncio.ensure_future(bot(mine)) for mine in range(4)]
    for _ in range(3):
        before = list(written)
        while any(now < then + 20 for now, then in zip(written, before)):
            await asyncio.sleep(0.005)
            assert not any(each.done() for each in bots)
        await asyncio.to_thread(daemon.kill)
        await asyncio.to_thread(daemon.start)
    stop.set()
    await asyncio.gather(*bots)
    for mine, n in enumerate(written):
        for peer_id in range(mine * 100000 + 1, mine * 100000 + n + 1):
            assert (await storage.get_peer_by_id(peer_id)).user_id == peer_id
    await storage.save()
    await storage.close()
