"""Limits of the protocol: those of `proto/contract.h` that a client keeps.

A daemon tells its own MESSAGE_BYTES and IN_FLIGHT in `hello`; until then these defaults hold.
"""

from __future__ import annotations

MESSAGE_BYTES = 4 * 1024 * 1024

IN_FLIGHT = 256
"""Unanswered requests of one connection on one session."""

CLIENT_BYTES = 255
"""Of the client's name in `hello`."""
