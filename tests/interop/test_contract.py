"""The contract is `proto/PROTOCOL.md` as text and `proto/contract.h` as tables for programs. The Python package must
have the same methods, error codes, limits, fields and options of `open`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import gramd
from gramd import errors, limits, records

from daemon import Daemon

PROTO = Path(__file__).parent.parent.parent / "proto"
TEXT = (PROTO / "PROTOCOL.md").read_text()
TABLES = (PROTO / "contract.h").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table after a line, without the table's header."""
    rest = TEXT.split(f"\n{heading}\n", 1)[1]
    table = re.search(r"^(\|.*\n)+", rest, flags=re.M)
    assert table is not None
    return [line.strip("| ").split(" | ") for line in table[0].splitlines()[2:]]


def names(heading: str) -> set[str]:
    """All names in the first column of a table."""
    return {name for row in rows(heading) for name in re.findall(r"`(\w+)", row[0])}


def macro(name: str) -> str:
    """The rows of an X-macro in contract.h."""
    [body] = re.findall(rf"^#define {name}\(X\)((?:.*\\\n)*.*)", TABLES, flags=re.M)
    return body


def table_of_limits() -> dict[str, int]:
    found = re.findall(r"^\s+LIMIT_(\w+) = ([\d *<]+)", TABLES, flags=re.M)
    return {name: eval(value) for name, value in found}  # a product or a shift of numbers


def public(kind: type) -> set[str]:
    return {name for name, each in inspect.getmembers(kind, inspect.iscoroutinefunction) if name[0] != "_"}


def test_methods() -> None:
    package = (public(gramd.Client) - {"close"}) | (public(gramd.Session) - {"open"})
    table = set(re.findall(r"X\([A-Z_]+, (\w+),", macro("CONTRACT_METHODS")))
    assert package == table == names("## Methods")


def test_the_blocking_client_has_every_method() -> None:
    for kind, blocking in ((gramd.Client, gramd.SyncClient), (gramd.Session, gramd.SyncSession)):
        assert public(kind) - {"open"} <= vars(blocking).keys()
    assert inspect.signature(gramd.SyncClient.open).parameters == inspect.signature(gramd.Client.open).parameters


def test_errors() -> None:
    table = set(re.findall(r'X\([A-Z_]+, "(\w+)"\)', macro("CONTRACT_ERRORS")))
    assert set(errors.BY_CODE) == table == names("## Errors")
    shown = {each.code for each in vars(gramd).values() if isinstance(each, type) and issubclass(each, gramd.Error)}
    own = {"error", "timed_out", "disconnected", "other_account", "protocol", "unreachable", "untrusted"}
    assert shown - own == table


def test_limits() -> None:
    package = {name: value for name, value in vars(limits).items() if name.isupper()}
    table = table_of_limits()
    for name in ("DEPTH", "HANDLE", "SESSIONS"):  # only the daemon uses them
        del table[name]
    assert package == table


def test_limits_of_the_text(daemon: Daemon) -> None:
    """The limits in `hello` are the same in the text, in the tables and in a running daemon."""
    text = {}
    for row in rows("**Limits**, told by `hello`:"):
        [(number, unit, name)] = re.findall(r"(\d+)( MiB)? \(`(\w+)`\)", row[1])
        text[name] = int(number) << 20 if unit else int(number)
    table = {f"max_{name.lower()}".replace("_bytes", ""): value for name, value in table_of_limits().items()}
    assert text == {name: table[name] for name in text}
    with gramd.SyncClient() as client:
        assert text == {name: value for name, value in client.hello().items() if name.startswith("max_")}


def test_fields() -> None:
    assert set(records.FIELDS) == names("### Fields")


def test_options_of_open() -> None:
    of_the_package = {"self", "name", "cache", "timeout", "on_lost", "on_leave"}
    options: Any = inspect.signature(gramd.Client.open).parameters.keys()
    assert options - of_the_package == names("### Options of `open`")


def test_ages_of_usernames() -> None:
    [default] = re.findall(r"`max_age` in seconds, default (\d+)", TEXT)
    assert int(default) == records.USERNAME_MAX_AGE
    assert f"Usernames and phone numbers are at most {records.TEXT_MAX_BYTES} bytes" in TEXT
