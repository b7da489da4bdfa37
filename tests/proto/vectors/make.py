"""Session strings written (or, with --read, read) by Pyrogram and Telethon themselves. See README.md."""

import asyncio
import base64
import json
import struct
import sys
from importlib.metadata import version

from pyrogram.storage import MemoryStorage
from telethon.crypto import AuthKey
from telethon.sessions import StringSession


def make_key(pattern):
    """As in test_session_string.c and make.mjs."""
    key = [(i * (2 * pattern + 1) + pattern * 37 + (i >> 3) * pattern * 5) & 255 for i in range(256)]
    if pattern == 3:
        key[40:90] = [0] * 50
    if pattern == 7:
        key[:255] = [0] * 255
    if pattern == 8:
        key[1:] = [0] * 255
    return bytes(key)


def key_of(case):
    """A case's key is the number of a pattern, or hexadecimal."""
    return make_key(case["key"]) if isinstance(case["key"], int) else bytes.fromhex(case["key"])


def pattern_of(key):
    return next((pattern for pattern in range(16) if make_key(pattern) == key), key.hex())


async def pyrogram_storage(case):
    storage = MemoryStorage("vectors")
    await storage.open()
    await storage.dc_id(case["dc_id"])
    await storage.api_id(case["api_id"])
    await storage.test_mode(case["test"])
    await storage.auth_key(key_of(case))
    await storage.user_id(case["user_id"])
    await storage.is_bot(case["is_bot"])
    return storage


async def pyrogram(case):
    return await (await pyrogram_storage(case)).export_session_string()


def pyrogram_old(layout):
    async def write(case):
        try:
            packed = struct.pack(layout, case["dc_id"], case["test"], key_of(case), case["user_id"], case["is_bot"])
        except struct.error:
            return None  # an id of more than 32 bits
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    return write


async def telethon(case):
    session = StringSession()
    session.set_dc(case["dc_id"], case["address"], case["port"])
    session.auth_key = AuthKey(key_of(case))
    return session.save()


FORMATS = {
    "pyrogram": pyrogram,
    "pyrogram-old32": pyrogram_old(MemoryStorage.OLD_SESSION_STRING_FORMAT),
    "pyrogram-old64": pyrogram_old(MemoryStorage.OLD_SESSION_STRING_FORMAT_64),
    "telethon": telethon,
}

CARRIED = {
    "pyrogram": {"api_id", "user_id", "is_bot"},
    "pyrogram-old32": {"user_id", "is_bot"},
    "pyrogram-old64": {"user_id", "is_bot"},
    "telethon": {"address", "port"},
}


def row(name, maker, case, text):
    """One initialiser of struct vector; what the format does not carry is -1 or NULL."""

    def number(field):
        return str(int(case[field])) if field in CARRIED[name] else "-1"

    address = f'"{case["address"]}"' if "address" in CARRIED[name] else "NULL"
    return (
        f'{{ "{name}", "{maker}", {case["dc_id"]}, {int(case["test"])}, {number("api_id")}, '
        f"{number('user_id')}, {number('is_bot')}, {address}, {number('port')}, {case['key']}, true,\n"
        f'  "{text}" }},'
    )


MAKERS = {name: f"Pyrogram {version('pyrogram')}" for name in FORMATS}
MAKERS["telethon"] = f"Telethon {version('telethon')}"


async def write(cases, as_json):
    """Rows for the C test, or lines of JSON."""
    for name, writer in FORMATS.items():
        for number, case in enumerate(cases):
            text = await writer(case)
            if text and as_json:
                carried = sorted(CARRIED[name])
                print(
                    json.dumps(
                        {"format": name, "maker": MAKERS[name], "number": number, "carried": carried, "text": text}
                    )
                )
            elif text:
                print(row(name, MAKERS[name], case, text))


async def read(name, text):
    if name == "telethon":
        session = StringSession(text)
        return {
            "dc_id": session.dc_id,
            "address": session.server_address,
            "port": session.port,
            "key": session.auth_key and pattern_of(session.auth_key.key),
        }
    storage = MemoryStorage("vectors", text)
    await storage.open()
    return {
        "dc_id": await storage.dc_id(),
        "api_id": await storage.api_id(),
        "test": await storage.test_mode(),
        "user_id": await storage.user_id(),
        "is_bot": await storage.is_bot(),
        "key": pattern_of(await storage.auth_key()),
    }


async def read_all(lines):
    for line in lines:
        name, text = line.split()
        if name in FORMATS:
            print(json.dumps({"format": name, "maker": MAKERS[name], "text": text, **await read(name, text)}))


def main(argument):
    if argument == "--read":
        asyncio.run(read_all(sys.stdin))
    elif argument == "--json":
        asyncio.run(write(json.load(sys.stdin), True))
    else:
        with open(argument) as cases:
            asyncio.run(write(json.load(cases), False))


main(sys.argv[1])
