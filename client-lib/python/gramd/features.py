"""Features: extensions of version 1 of the protocol. Client and daemon list their own in `hello`."""

from __future__ import annotations

from typing import Any

LEAVE = "leave"
"""The daemon asks its clients to leave their sessions, which it hands over to other hosts."""

LEASE = "lease"
"""The answer to `open` has the lease."""

ID = "id"
"""The daemon answers a repeated write as it answered the first one, by the id of the client in `hello`."""

OWNER = "owner"
"""`chown`; the answers to `info` and `sessions` have owners."""

KV = "kv"
"""Sessions have a key-value area; `changed` tells its keys."""

PYROTGFORK = "pyrotgfork"
"""`open` takes the dialect `pyrotgfork`."""

ELSEWHERE = "elsewhere"
"""The answer to an `open` that has created a session names the other backends that have one of its name."""

FEATURES: tuple[str, ...] = (LEAVE, LEASE, ID, OWNER, KV, PYROTGFORK, ELSEWHERE)
"""The features that this package understands."""


def of_daemon(hello: dict[str, Any]) -> frozenset[str]:
    """The features in the daemon's answer to `hello`. A daemon of the first version has none."""
    features = hello.get("features")
    if not isinstance(features, (list, tuple)):
        return frozenset()
    return frozenset(name for name in features if isinstance(name, str))
