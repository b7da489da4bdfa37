"""Talks to gramd with pynvim's MessagePack-RPC client, which is independent of this project.

Run by test_foreign_rpc.sh in an environment of its own, with gramd in $BUILD. Starts the daemon in a
directory of its own. Prints "ok" and ends with 0, or shows the first difference.
"""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile

from pynvim.msgpack_rpc import socket_session

DEADLINE = 60  # seconds for each wait


@contextlib.contextmanager
def daemon(directory):
    """A gramd with the socket `directory`/socket. It must end with status 0 on SIGTERM."""
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.settimeout(DEADLINE)
    notify.bind(str(directory / "notify"))
    (directory / "gramd.conf").touch()
    program = subprocess.Popen(
        [
            os.path.join(os.environ["BUILD"], "gramd"),
            f"--config={directory / 'gramd.conf'}",
            f"--socket={directory / 'socket'}",
            f"--data={directory / 'data'}",
        ],
        env={**os.environ, "NOTIFY_SOCKET": str(directory / "notify")},
    )
    try:
        while b"READY=1" not in notify.recv(4096).split(b"\n"):
            pass
        yield
    except BaseException:
        program.kill()
        raise
    finally:
        program.send_signal(signal.SIGTERM)
        status = program.wait(DEADLINE)
        notify.close()
    assert status == 0, f"gramd ended with {status}"


def expect(what, found, wanted):
    assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


def refusal(session, *request):
    """The message of the error in the answer to the request."""
    try:
        answer = session.request(*request)
    except Exception as error:  # pynvim raises it for any error in an answer
        return str(error)
    raise AssertionError(f"{request}: {answer!r} instead of an error")


def converse(rpc):
    hello = rpc.request("hello", {"client": "pynvim"})
    expect("server", (hello["server"], hello["protocol"]), ("gramd", 1))
    expect("ping", rpc.request("ping", [1, -2, "text", b"bytes", None, {"key": True}]),
           [1, -2, "text", b"bytes", None, {"key": True}])

    opened = rpc.request("open", "anna", {"dialect": "kurigram"})
    expect("open", (opened["created"], opened["backend"], opened["dialect"]), (True, "file", "kurigram"))
    s = opened["session"]

    key = bytes(range(256))
    expect("set", rpc.request("set", s, {"dc_id": 4, "auth_key": key, "user_id": 2**40, "is_bot": False}), None)
    expect("get", rpc.request("get", s, ["dc_id", "auth_key", "user_id", "is_bot", "api_id", "server_address"]),
           [4, key, 2**40, False, None, "149.154.167.91"])

    rows = [
        [7, 2**63 - 1, "user", "anna", "1555", 1700000000],
        [-1001234567890, -(2**63), "channel", None, None, 1700000001],
    ]
    expect("update_peers", rpc.request("update_peers", s, rows), None)
    expect("by id", rpc.request("get_peer_by_id", s, 7), rows[0])
    expect("by username", rpc.request("get_peer_by_username", s, "anna", 0), rows[0])
    expect("by phone number", rpc.request("get_peer_by_phone_number", s, "1555"), rows[0])
    expect("get_peers", rpc.request("get_peers", s, [-1001234567890, 8, 7]), [rows[1], None, rows[0]])
    expect("scan", rpc.request("scan_peers", s, None, 10), [rows[1], rows[0]])
    expect("update_usernames", rpc.request("update_usernames", s, [[-1001234567890, ["news", "neues"]]]), None)
    expect("by a further name", rpc.request("get_peer_by_username", s, "neues", 0), rows[1])
    expect("update_states", rpc.request("update_states", s, [[0, 1, 2, 3, None]]), None)
    expect("get_states", rpc.request("get_states", s), [[0, 1, 2, 3, None]])

    assert refusal(rpc, "get_peer_by_id", s, 8)
    assert "shoe_size" in refusal(rpc, "get", s, ["shoe_size"])
    assert "no_such_method" in refusal(rpc, "no_such_method")
    rpc.request("set", s, {"dc_id": 5}, async_=True)
    expect("a notification", rpc.request("get", s, ["dc_id"]), [5])
    expect("close", rpc.request("close", s), None)


def read_again(rpc):
    """A second connection reads what the first has written."""
    s = rpc.request("open", "anna", {"create": False})["session"]
    expect("by id", rpc.request("get_peer_by_id", s, 7), [7, 2**63 - 1, "user", "anna", "1555", 1700000000])
    expect("get", rpc.request("get", s, ["dc_id"]), [5])


def main():
    with tempfile.TemporaryDirectory() as directory, daemon(pathlib.Path(directory)):
        for part in (converse, read_again):
            rpc = socket_session(os.path.join(directory, "socket"))
            try:
                part(rpc)
            finally:
                rpc.close()
    print("ok: pynvim's MessagePack-RPC client")


if __name__ == "__main__":
    main()
