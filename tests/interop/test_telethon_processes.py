"""Telethon's sessions in several processes, and while the daemon is killed."""

from __future__ import annotations

import subprocess
import threading
import time

from gramd.telethon import GramdSession
from telethon.tl import types

from conftest import python
from daemon import Daemon
from offline_telethon import met, state, user

WRITER = """
import sys
from gramd.telethon import GramdSession
from telethon.tl import types
session = GramdSession("acc")
for line in sys.stdin:
    person = types.User(1, access_hash=int(line), first_name="x", username=f"name{int(line)}")
    session.process_entities(types.contacts.ResolvedPeer(None, [], [person]))
    print(session.get_input_entity(1).access_hash, flush=True)
session.close()
"""


def test_two_processes_on_one_session(daemon: Daemon) -> None:
    session = GramdSession("acc")
    session.process_entities(met(user(1)))
    with subprocess.Popen(
        python("-c", WRITER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None and other.stdout is not None
        for n in range(1, 20):
            assert session.get_input_entity(1).access_hash != n
            other.stdin.write(f"{n}\n")
            other.stdin.flush()
            assert other.stdout.readline() == f"{n}\n"
            # The notification was sent before the writer's answer. The background thread reads it at any time.
            give_up = time.monotonic() + 10
            while session.get_input_entity(1).access_hash != n:
                assert time.monotonic() < give_up
            assert session.get_input_entity(f"name{n}").access_hash == n
        other.stdin.close()
        assert other.wait() == 0
    session.close()


FORK = """
import os
from gramd.telethon import GramdSession
session = GramdSession("acc")
session.takeout_id = 5
pid = os.fork()
if pid == 0:
    assert session.takeout_id == 5
    session.takeout_id = 6
    session.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
session.set_dc(2, None, None)
assert session.takeout_id == 6
session.close()
"""


def test_a_forked_child(daemon: Daemon) -> None:
    assert subprocess.run(python("-c", FORK), timeout=60).returncode == 0


def test_the_daemon_is_killed_while_a_bot_runs(daemon: Daemon) -> None:
    session = GramdSession("acc")
    written, stop = [0], threading.Event()

    def bot() -> None:
        while not stop.is_set():
            n = written[0] + 1
            session.process_entities(met(user(n)))
            assert session.get_input_entity(n).access_hash == n * 10
            session.set_update_state(0, state(n))
            written[0] = n

    thread = threading.Thread(target=bot)
    thread.start()
    for _ in range(3):
        before = written[0]
        while written[0] < before + 30:
            assert thread.is_alive()
            time.sleep(0.005)
        daemon.kill()
        daemon.start()
    stop.set()
    thread.join()
    session.close()
    for n in range(1, written[0] + 1):
        assert session.get_input_entity(n) == types.InputPeerUser(n, n * 10)
    assert session.get_update_state(0).pts == written[0]
    session.close()
