"""The Python package as a client in another user namespace: prints the user of a session. show.py NAME"""

from __future__ import annotations

import asyncio
import sys

from gramd.client import Client


async def show(name: str) -> None:
    async with Client() as client:
        session = await client.open(name, create=False)
        print("user", *await session.get("user_id"))


try:
    asyncio.run(show(sys.argv[1]))
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
