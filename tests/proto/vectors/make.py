"""Session strings written (or, with --read, read) by Pyrogram and Telethon themselves. See README.md."""

import asyncio
import base64
import json
import struct
import sys

from pyrogram.storage import MemoryStorage
from telethon.crypto import AuthKey
from telethon.sessions import StringSession


def make_key(pattern):
    """As in test_session_string.c and make.mjs."""
    key = [(i * (2 * pattern + 1) + pattern * 37 + (i >> 3) * pattern * 5) & 255 for i in range(256)]
    if pattern == 3:
        key[40:90] = [0] * 50
    return bytes(key)


def pattern_of(key):
    return next((pattern for pattern in range(16) if make_key(pattern) == key), None)


async def pyrogram_storage(case):
    storage = MemoryStorage("vectors")
    await storage.open()
    await storage.dc_id(case["dc_id"])
    await storage.api_id(case["api_id"])
    await storage.test_mode(case["test"])
    await storage.auth_key(make_key(case["key"]))
    await storage.user_id(case["user_id"])
    await storage.is_bot(case["is_bot"])
    return storage


async def pyrogram(case):
    return await (await pyrogram_storage(case)).export_session_string()


def pyrogram_old(layout):
    async def write(case):
        try:
            packed = struct.pack(layout, case["dc_id"], case["test"], make_key(case["key"]), case["user_id"],
                                 case["is_bot"])
        except struct.error:
            return None  # an id of more than 32 bits
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")
    return write


async def telethon(case):
    session = StringSession()
    session.set_dc(case["dc_id"], case["address"], case["port"])
    session.auth_key = AuthKey(make_key(case["key"]))
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
    return (f'{{ "{name}", "{maker}", {case["dc_id"]}, {int(case["test"])}, {number("api_id")}, '
            f'{number("user_id")}, {number("is_bot")}, {address}, {number("port")}, {case["key"]}, true,\n'
            f'  "{text}" }},')


async def write(cases):
    for name, writer in FORMATS.items():
        for case in cases:
            text = await writer(case)
            if text:
                print(row(name, "Telethon 1.45.0" if name == "telethon" else "Pyrogram 2.0.106", case, text))


async def read(line):
    name, text = line.split()
    if name == "telethon":
        session = StringSession(text)
        return {"dc_id": session.dc_id, "address": session.server_address, "port": session.port,
                "key": session.auth_key and pattern_of(session.auth_key.key)}
    storage = MemoryStorage("vectors", text)
    await storage.open()
    return {"dc_id": await storage.dc_id(), "api_id": await storage.api_id(), "test": await storage.test_mode(),
            "user_id": await storage.user_id(), "is_bot": await storage.is_bot(),
            "key": pattern_of(await storage.auth_key())}


def main(argument):
    if argument == "--read":
        for line in sys.stdin:
            print(line.split()[0], json.dumps(asyncio.run(read(line))))
        return
    with open(argument) as cases:
        asyncio.run(write(json.load(cases)))


main(sys.argv[1])
