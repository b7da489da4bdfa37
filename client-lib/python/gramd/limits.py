"""Limits of the protocol: those of `proto/contract.h` that a client must keep to.

MESSAGE_BYTES and IN_FLIGHT are defaults; the answer to `hello` has the daemon's own.
"""

from __future__ import annotations

MESSAGE_BYTES = 4 * 1024 * 1024

IN_FLIGHT = 256
"""Unanswered requests of one connection on one session."""

ID_BYTES = 16
"""Length of the client's id in `hello`."""

REMEMBERED = 256
"""Writes of one client that a session remembers."""

ROWS = 1000
"""Of one answer of a scan; ids of one `get_peers`, keys of one `kv_get`."""

CLIENT_BYTES = 255
"""Length of the client's name in `hello`."""
