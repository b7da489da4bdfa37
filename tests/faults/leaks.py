"""No output of gramd has a part of a secret: marked auth keys, session strings, key files and MongoDB's password go
through every method, command and failure, and then all that came out is searched.

Each output is also given a text that must be found in it, so that one that is not collected fails the test."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import io
import json
import logging
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gramd
import msgpack

import marks
from daemon import Daemon
from marked import (
    CANARY,
    FORMATS,
    KEY,
    LOGIN,
    OTHER_KEY,
    PASSWORD,
    PLANTED,
    SECRETS,
    bad_values,
    broken,
    key_line,
)
from marks import Outputs
from wire import Wire, WireError

STRANGER = 54321
BUILD = Path(os.environ["BUILD"])
SOURCE = Path(os.environ["SOURCE"])


# ---- the protocol ----


class Speaker:
    """Calls methods, and keeps all that the daemon says, except the results that are to be a secret."""

    def __init__(self, path: str, outputs: Outputs, name: str, where: str = "answers") -> None:
        self.wire = Wire(path, name)
        self.outputs = outputs
        self.where = where

    def __call__(self, method: str, *params: Any, secret: bool = False) -> Any:
        """The result, or None after an error."""
        try:
            result = self.wire.call(method, *params, seconds=120)
        except WireError as error:
            self.outputs.add(f"errors in {self.where}", f"{error.code}: {error.text}")
            return None
        if not secret:
            self.outputs.add(self.where, result)
        return result

    def notified(self) -> list[Any]:
        self.wire.call("ping", 1)
        told = list(self.wire.notified)
        self.wire.notified.clear()
        return told


def as_user(uid: int, act: Callable[[], Any]) -> Any:
    """The daemon sees the effective uid of the moment of connect(2); files are still looked for as root."""
    os.seteuid(uid)
    ctypes.CDLL(None).setfsuid(0)
    try:
        return act()
    finally:
        os.seteuid(0)


def methods() -> list[tuple[str, str]]:
    """Names and shapes of all methods, from the contract."""
    text = (SOURCE / "proto/contract.h").read_text()
    return re.findall(r"X\([A-Z_]+, ([a-z_]+), \"([^\"]*)\"", text)


def misuse(say: Speaker, session: int, strings: list[str]) -> None:
    """Keys and strings where something else belongs, in every method that takes secrets."""
    for field in ("user_id", "dc_id", "test_mode", "date", "server_address", "port", "auth_key", "no_such_field"):
        for value in bad_values():
            say("set", session, {field: value})
    for value in (*bad_values(), strings[0]):
        if isinstance(value, (str, bytes)):
            say("set", session, {value: KEY})
        say("set", session, {"auth_key": KEY, "user_id": value, "no_such_field": KEY})
        say("get", session, [value])
        say("get", session, ["dc_id"] * 1100 + [value])
        say("get", session, value)
        say("kv_set", session, [["k", value]])
        say("kv_set", session, [[value, KEY]])
        say("kv_set", session, [["k", KEY, value]])
        say("kv_swap", session, "k", value, value, secret=True)
        say("kv_swap", session, value, KEY, None, secret=True)
        say("kv_get", session, [value], secret=True)
        say("kv_scan", session, value, value, 10, secret=True)
        say("export_string", session, value)
        say("import_string", session, value)
        say("import_string", session, strings[0], value)
        for option in ("format", "overwrite", "api_id", "no_such_option"):
            say("import_string", session, strings[0], {option: value})
        if isinstance(value, (str, bytes)):
            say("import_string", session, strings[0], {value: 1})
        say("open", value, {})  # a text in it is too long for a name
        say("open", strings[0] * 2, {})
    for text in strings:
        for wrong in broken(text):
            say("import_string", session, wrong)
            say("import_string", session, wrong, {"format": "telethon"})
        for name in FORMATS:
            say("import_string", session, text, {"format": name, "api_id": 1 << 40})


def wrong_shapes(say: Speaker, session: int) -> None:
    """A key in each place of each method, and too many parameters."""
    for name, shape in methods():
        n = len(shape.replace("|", ""))
        if name == "ping":
            continue  # it answers what it was sent
        if name in ("hello", "drain", "disconnect", "delete", "close", "monitor"):
            n = 0  # they would take it, or end what goes on
        for at in range(n + 1):
            params: list[Any] = [session if letter == "h" else KEY for letter in shape.replace("|", "")]
            params[at:] = [KEY] * (n - at + 1)
            say(name, *params)
    say(KEY.hex()[:60])
    say("no_such_method", KEY)


def bad_messages(path: str, outputs: Outputs, session: int) -> None:
    whole = msgpack.packb([0, 5, "set", [session, {"auth_key": KEY}]])
    messages = [
        KEY,
        whole[:-100] + b"\xc1" * 200,
        b"\xc1" + whole,
        msgpack.packb([1, 5, None, KEY]),
        msgpack.packb([0, 5, KEY, []]),
        msgpack.packb([0, KEY, "set", []]),
        msgpack.packb([0, 5, "set", KEY]),
        msgpack.packb([0, 5, "set", [[[[[[[[[KEY]]]]]]]]]]),
        msgpack.packb([3, 5, "set", [KEY]]),
        msgpack.packb(KEY),
        msgpack.packb({KEY: KEY}),
        msgpack.packb([0, 5, "set", [session, {"auth_key": KEY * 20000}]]),
        b"\x94\x00\x05\xa3set\x92\x01\x81\xa8auth_key\xc6\xff\xff\xff\xff" + KEY,
        whole[:-50],  # and goes
    ]
    for message in messages:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
            raw.connect(path)
            answer = b""
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may be closed before its last bytes
                raw.sendall(message)
                raw.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while data := raw.recv(1 << 16):
                    answer += data
            outputs.add("errors in answers", answer)


def denied(path: str, outputs: Outputs) -> None:
    if os.geteuid() != 0:
        print("leaks: what is denied to others is not tried: that needs root")
        return
    say = as_user(STRANGER, lambda: Speaker(path, outputs, f"stranger {CANARY}"))
    session = say("open", "marked", {})["session"]
    for method, *params in (
        ("get", ["auth_key"]),
        ("get", ["dc_id"] * 1100 + ["auth_key"]),
        ("set", {"auth_key": OTHER_KEY}),
        ("kv_get", ["k"]),
        ("kv_scan", "", None, 10),
        ("kv_set", [["k", OTHER_KEY]]),
        ("kv_swap", "k", None, OTHER_KEY),
        ("export_string", "pyrogram"),
        ("import_string", base64.b64encode(OTHER_KEY).decode()),
        ("delete",),
        ("unseal",),
    ):
        say(method, session, *params)
    say("open", "marked", {"mode": "exclusive"})
    say("open", CANARY, {})
    say("disconnect", 1)
    say("stats")
    say.wire.close()


def by_wire(daemon: Daemon, outputs: Outputs) -> list[str]:
    """All methods; returns the session strings of the marked key."""
    monitor = Speaker(daemon.socket, outputs, f"monitor {CANARY}")
    watcher = Speaker(daemon.socket, outputs, "watcher")
    say = Speaker(daemon.socket, outputs, f"marked {CANARY}")
    monitor("monitor", True)
    session = say("open", "marked", {})["session"]
    watched = watcher("open", "marked", {})["session"]
    watcher("watch", watched, True)
    canary = say("open", CANARY, {})["session"]
    say("info", canary)
    say("set", session, LOGIN)
    say("update_peers", session, [[7, 70, "user", CANARY, None]])
    say("get_peer_by_username", session, CANARY)
    say("open", f"/{CANARY}", {})
    say("get", session, list(LOGIN)[1:])
    assert say("get", session, ["auth_key"], secret=True) == [KEY]
    say("kv_set", session, [["k", KEY]])
    assert say("kv_get", session, ["k"], secret=True) == [KEY]
    strings = []
    for name in FORMATS:
        text = say("export_string", session, name, secret=True)
        assert any(marks.find(KEY, form) for form in (text.encode(), text[1:].encode()))
        strings.append(text)
        say("import_string", session, text)
        say("import_string", canary, text, {"overwrite": True, "api_id": 7})
    other = say("open", "other", {})["session"]
    say("set", other, {**LOGIN, "auth_key": OTHER_KEY})
    for text in strings:
        say("import_string", other, text)
    for method in ("seal", "info", "unseal", "info", "seal", "rotate", "save", "lease", "get_states"):
        say(method, session)
    misuse(say, session, strings)
    wrong_shapes(say, session)
    bad_messages(daemon.socket, outputs, session)
    for method in ("stats", "clients"):
        say(method)
    say("sessions", None)
    memory = say("open", "fleeting", {"backend": "memory"})["session"]
    say("set", memory, LOGIN)
    say("delete", memory)
    mongo = say("open", f"mongo {CANARY}", {"backend": "mongo"})
    assert mongo is None
    denied(daemon.socket, outputs)
    outputs.add("monitor", monitor.notified())
    outputs.add("what watchers are told", watcher.notified())
    say("close", canary)
    for speaker in (say, monitor, watcher):
        speaker.wire.close()
    return strings


# ---- gramctl ----


class Gramctl:
    def __init__(self, daemon: Daemon, outputs: Outputs) -> None:
        self.daemon = daemon
        self.outputs = outputs

    def __call__(self, *words: str, text: str = "", secret: bool = False) -> int:
        run = subprocess.run(
            [BUILD / "gramctl", "--socket", self.daemon.socket, *words],
            input=text.encode(),
            capture_output=True,
            timeout=300,
        )
        if not secret:
            self.outputs.add("gramctl's output", run.stdout)
        self.outputs.add("gramctl's errors", run.stderr)
        return run.returncode


def by_gramctl(daemon: Daemon, outputs: Outputs, strings: list[str], directory: Path) -> None:
    run = Gramctl(daemon, outputs)
    good = directory / "string"
    good.write_text(strings[0])
    for words in (("list",), ("show", "marked"), ("stats",), ("ping",), ("seal", "--all"), ("unseal", "marked")):
        assert run(*words) == 0, words
        assert run("--json", *words) == 0, words
    assert run("rotate", "marked") == 0
    assert run("show", f"no {CANARY}") == 5
    assert run("export", "marked", secret=True) == 0
    assert run("export", "marked", "--json", secret=True) == 0
    assert run("export", "marked", "--output", str(directory / "exported")) == 0
    assert run("export", "marked", "--output", str(directory / "exported")) == 1
    assert run("export", "marked", "--output", str(directory / "nowhere/exported")) == 1
    assert run("export", "marked", "--format", "none") == 1
    assert run("import", "imported", text=strings[0]) == 0
    assert run("--json", "import", "imported", str(good)) == 0
    assert run("import", "other", text=strings[0]) == 1
    assert run("import", "imported", "--api-id", "x", text=strings[0]) == 2
    assert run("import", "imported", "--api-id", str(1 << 40), text=strings[0]) == 1
    assert run("import", "imported", "--format", "telethon", text=strings[0]) == 1
    assert run("import", "imported", str(good), "more") == 2
    assert run("import", "imported", str(directory)) == 1
    for wrong in (*broken(strings[0]), "x" * 5000, KEY.hex(), strings[0] * 20):
        assert run("import", "imported", text=wrong) == 1, wrong
    for words in (("drain", "--no-wait"), ("drain", "--off")):
        assert run(*words) == 0
    keys = directory / "other.key"
    keys.write_text(key_line(2) + key_line(2))
    keys.chmod(0o600)
    assert run("key", "new", str(keys)) == 1
    keys.write_text(key_line(2)[:-5] + "\n")
    assert run("key", "new", str(keys)) == 1
    keys.write_text(key_line(2))
    assert run("key", "new", str(keys)) == 0
    assert run("nonsense", "marked") == 2


# ---- the libraries ----


class GramError(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("message", ctypes.c_char_p),
        ("holder", ctypes.c_void_p),
        ("file", ctypes.c_char_p),
    ]


class GramOptions(ctypes.Structure):
    _fields_ = [
        ("socket", ctypes.c_char_p),
        ("client", ctypes.c_char_p),
        ("timeout_ms", ctypes.c_int64),
        ("on_event", ctypes.c_void_p),
        ("event_arg", ctypes.c_void_p),
    ]


def by_libgram(daemon: Daemon, outputs: Outputs, strings: list[str]) -> None:
    if os.environ.get("SANITIZE"):
        print("leaks: libgram is not loaded into Python: it has a sanitizer; gramctl shows its errors")
        return
    library = ctypes.CDLL(str(BUILD / "libgram.so"))
    library.gram_client_new.restype = ctypes.c_void_p
    library.gram_client_error.restype = ctypes.POINTER(GramError)
    options = GramOptions(daemon.socket.encode(), CANARY.encode(), 60000, None, None)
    client = ctypes.c_void_p(library.gram_client_new(ctypes.byref(options)))
    session = ctypes.c_void_p()
    text = ctypes.c_char_p()
    fields = ctypes.c_uint()

    def failed() -> None:
        error = library.gram_client_error(client).contents
        outputs.add("libgram's errors", b": ".join((error.name or b"", error.message or b"")))

    def open_(name: str) -> bool:
        return library.gram_open(client, name.encode(), None, ctypes.byref(session)) == 0

    assert open_("other")
    assert library.gram_import_string(session, strings[0].encode(), None, ctypes.byref(fields)) != 0
    failed()
    for wrong in broken(strings[0]):
        if library.gram_import_string(session, wrong.encode(), None, ctypes.byref(fields)) != 0:
            failed()
    for name in ("none", strings[0], KEY.hex()):
        assert library.gram_export_string(session, name.encode(), ctypes.byref(text)) != 0
        failed()
    library.gram_close(session)
    assert not open_(strings[0])
    failed()
    assert not open_(f"/{CANARY}")
    failed()
    library.gram_client_free(client)


def by_python(daemon: Daemon, outputs: Outputs, strings: list[str]) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)

    def attempt(call: Callable[..., Any], *params: Any, **named: Any) -> None:
        try:
            call(*params, **named)
        except Exception as error:
            text = "".join(traceback.format_exception_only(type(error), error))
            outputs.add("Python's errors", f"{text}\n{error}\n{error!r}\n{error.args!r}\n{getattr(error, 'detail', '')}")

    with gramd.SyncClient(daemon.socket, name=f"python {CANARY}", timeout=60) as client:
        session = client.open("other")
        outputs.add("Python's objects", f"{client!r} {client.client!r} {session!r} {session.info()!r} {CANARY}")
        for value in bad_values():
            attempt(session.set, auth_key=value)
            attempt(session.set, user_id=value)
        attempt(session.set, auth_key=OTHER_KEY, no_such_field=KEY)
        attempt(session.set, auth_key=KEY, user_id=object())
        attempt(session.set, auth_key=KEY, user_id=1 << 70)
        for text in (strings[0], *broken(strings[0])):
            attempt(session.import_string, text)
            attempt(session.import_string, text, format=text)
            attempt(session.export_string, text)
            if len(text) > 200:  # a shorter one is a name
                attempt(client.open, text)
        attempt(client.open, f"/{CANARY}")
        session.close()
        attempt(session.set, auth_key=KEY)
        attempt(session.import_string, strings[0])
    logging.getLogger().removeHandler(handler)
    outputs.add("Python's objects", stream.getvalue())


def without_daemon(path: str, outputs: Outputs, strings: list[str]) -> None:
    """The daemon has gone while calls with keys were made."""
    try:
        with gramd.SyncClient(path, timeout=0.2) as client:
            client.open("marked").set(auth_key=KEY)
    except gramd.Error as error:
        outputs.add("Python's errors", f"{error} {error!r}")
    run = subprocess.run(
        [BUILD / "gramctl", "--socket", path, "--timeout", "1", "import", "x"],
        input=strings[0].encode(),
        capture_output=True,
        timeout=300,
    )
    assert run.returncode == 3
    outputs.add("gramctl's errors", run.stderr)


# ---- what is stored, and the start ----


def config(json_lines: bool) -> str:
    return (
        "log-level = debug\nidle-close = 0\n"
        f"log-json = {'yes' if json_lines else 'no'}\n"
        f"mongo = mongodb://marked:{PASSWORD.decode()}@127.0.0.1:1/?serverSelectionTimeoutMS=100\n"
        "[access]\n"
        f"user {STRANGER} = read on marked\n"
        "[encryption]\nkey-file = gramd.key\n"
    )


def damage(daemon: Daemon) -> list[str]:
    """Session files with parts of a key where the daemon does not expect them. Their names."""
    data = daemon.data
    (data / f"garbage {CANARY}.session").write_bytes(b"SQLite format 3\0" + KEY * 20)
    (data / "text.session").write_bytes(KEY.hex().encode())
    for name, column, value in (
        ("short", "auth_key", KEY[:200]),
        ("words", "auth_key", KEY.hex()),
        ("words2", "user_id", KEY.hex()),
        ("words3", "test_mode", KEY),
        ("words4", "date", KEY.decode("latin-1")),
    ):
        path = data / f"{name}.session"
        path.write_bytes((data / "plain.session").read_bytes())
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute(f"UPDATE sessions SET {column} = ?", (value,))
    sealed = data / "resealed.session"
    sealed.write_bytes((data / "other.session").read_bytes())
    with contextlib.closing(sqlite3.connect(sealed)) as database, database:
        database.execute("UPDATE gramd_sealed SET value = ? WHERE field = 'auth_key'", (KEY,))
    for path in data.glob("*.session"):
        path.chmod(0o600)
    return [path.stem for path in data.glob("*.session")]


def after_damage(daemon: Daemon, outputs: Outputs) -> int:
    """Opens everything that is stored; returns how many are refused."""
    say = Speaker(daemon.socket, outputs, f"after {CANARY}")
    refused = 0
    for name in damage(daemon):
        refused += say("open", name, {"create": False}) is None
        run = Gramctl(daemon, outputs)
        for command in ("show", "rotate", "seal", "unseal"):
            run(command, name)
        run("export", name, secret=True)
    say.wire.close()
    return refused


def bad_starts(directory: Path, outputs: Outputs) -> None:
    """Wrong configurations and key files."""
    path, keys = directory / "bad.conf", directory / "bad.key"
    uri = f"mongodb://marked:{PASSWORD.decode()}@127.0.0.1:1"
    outputs.add("gramd's own output", CANARY)
    for text in (
        "",
        f"mongo = {uri}/%%%\n",
        f"mongo = {uri}:x/\n",
        f"mongo = http://marked:{PASSWORD.decode()}@host\n",
        f"mongo = {uri}/?x=\n",
    ):
        path.write_text(text)
        for words in (["--check-config"], ["--print-config"], ["--check-config", "--mongo", f"{uri}/%%%"]):
            run = subprocess.run([BUILD / "gramd", "--config", path, *words], capture_output=True, timeout=60)
            outputs.add("gramd's own output", run.stdout + run.stderr)
    for text in (
        key_line(0)[:-4],
        key_line(0) + key_line(0),
        key_line(0).replace(" ", ""),
        key_line(0)[12:],
        "\0" + key_line(0),
    ):
        keys.write_text(text)
        keys.chmod(0o600)
        path.write_text(f"[encryption]\nkey-file = {keys}\n")
        words = ["--config", path, "--data", directory / "bad-data", "--socket", directory / "bad.sock"]
        run = subprocess.run([BUILD / "gramd", *words], capture_output=True, timeout=60)
        assert run.returncode != 0, text
        outputs.add("gramd's own output", run.stdout + run.stderr)


def reload(daemon: Daemon, keys: str) -> None:
    """A reload with another key file; returns when the log tells of it."""
    path = Path("gramd.key")
    path.write_text(keys)
    before = daemon.log().count("configuration")
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("reload", lambda: daemon.log().count("configuration") > before)


def look(directory: Path, json_lines: bool, outputs: Outputs) -> None:
    directory.mkdir()
    os.chdir(directory)
    Path("gramd.key").write_text(key_line(0))
    Path("gramd.key").chmod(0o600)
    with Daemon(directory, config(json_lines)) as daemon:
        directory.chmod(0o711)
        os.chmod(daemon.socket, 0o666)
        plain = Wire(daemon.socket)
        plain.call("set", plain.open("plain"), {"auth_key": KEY})
        plain.close()
        strings = by_wire(daemon, outputs)
        by_gramctl(daemon, outputs, strings, directory)
        by_libgram(daemon, outputs, strings)
        by_python(daemon, outputs, strings)
        for keys in ("", key_line(1)[:-6], key_line(1) * 2, key_line(1) + key_line(0)):
            reload(daemon, keys)
        Gramctl(daemon, outputs)("rotate", "--all")
        daemon.stop()
        without_daemon(daemon.socket, outputs, strings)
        Path("gramd.key").write_text(key_line(2))
        daemon.start()
        assert after_damage(daemon, outputs) > 5
        assert Gramctl(daemon, outputs)("rotate", "other") == 1
        daemon.stop()
        outputs.add("log in JSON" if json_lines else "log", daemon.log_path.read_bytes())
        text = daemon.log()
        assert "audit" in text
        if json_lines:
            for line in text.splitlines():
                json.loads(line)


def main() -> int:
    marks.prove(KEY)
    outputs = Outputs(SECRETS, PLANTED)
    top = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="gramd-leaks.") as name:
        directory = Path(name)
        directory.chmod(0o711)
        for json_lines in (False, True):
            look(directory / ("json" if json_lines else "text"), json_lines, outputs)
        bad_starts(directory, outputs)
        os.chdir(top)
    found = outputs.search()
    for what in found:
        print(f"leaks: {what}")
    places = ", ".join(outputs.places())
    print(f"leaks: {len(SECRETS)} secrets, {outputs.n_bytes()} bytes of these outputs: {places}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
