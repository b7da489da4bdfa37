"""One exception class for each error code of the protocol; all are subclasses of `Error`."""

from __future__ import annotations

from typing import Any, ClassVar, Optional


class Error(Exception):
    """The daemon answered with an error, or its answer did not come."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, detail: Optional[dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail

    def copy(self) -> Error:
        """A new exception object with the same contents, to be raised somewhere else."""
        return type(self)(self.message, self.detail)


class BadRequest(Error):
    """Wrong parameters. Nothing has been changed."""

    code = "bad_request"


class UnknownMethod(Error):
    """The daemon does not know the method: it is older than this package."""

    code = "unknown_method"


class BadSession(Error):
    """The session is not open."""

    code = "bad_session"


class NotFound(Error):
    """No such peer, username, phone number or session."""

    code = "not_found"


class Expired(Error):
    """The username's record is older than the allowed age."""

    code = "expired"


class Overloaded(Error):
    """Too many unanswered requests on the session. This one was not executed."""

    code = "overloaded"


class Busy(Error):
    """Another client holds the session, or another program has locked its file."""

    code = "busy"

    @property
    def holder(self) -> Optional[dict[str, Any]]:
        """Who has the session open (pid, uid, client, host, since), if the daemon knows."""
        holder = self.detail.get("holder") if self.detail else None
        return holder if isinstance(holder, dict) else None

    def __str__(self) -> str:
        if self.holder is None:
            return self.message
        client, pid, host = (self.holder.get(key) for key in ("client", "pid", "host"))
        return f"{self.message} (held by {client or 'a client'}, pid {pid}, on {host})"


class Fenced(Error):
    """Another host owns the session now. The application must stop using its key."""

    code = "fenced"


class Exists(Error):
    """The session holds another auth key, and `overwrite` was not given."""

    code = "exists"


class Denied(Error):
    """This user may not do this."""

    code = "denied"


class TooLarge(Error):
    """A message, list or name over a limit."""

    code = "too_large"


class Unavailable(Error):
    """The backend cannot be reached now. A write may or may not have happened; repeat it."""

    code = "unavailable"


class Storage(Error):
    """The backend failed (disk full, I/O error, read-only file). The write did not happen."""

    code = "storage"


class Corrupt(Error):
    """The stored session is damaged, or of an unknown dialect. It was not changed."""

    code = "corrupt"


class TimedOut(Error, TimeoutError):
    """No answer came within the timeout. A write may or may not have happened."""

    code = "timed_out"


class Unreachable(TimedOut):
    """There is no daemon, or this program may not connect to it. The message says why, and what to do."""

    code = "unreachable"


class Disconnected(Error, ConnectionError):
    """The client was closed before the answer came."""

    code = "disconnected"


class ProtocolError(Error):
    """The daemon sent what is not this protocol, or a message over its own limit. The connection is ended,
    and a new one made. A write may or may not have happened."""

    code = "protocol"


class Untrusted(Error):
    """A user who is not trusted listens at the socket. Nothing was sent."""

    code = "untrusted"


class OtherAccount(Error):
    """The stored session is that of another account than the bot token. Raised by the storages."""

    code = "other_account"


BY_CODE: dict[str, type[Error]] = {
    kind.code: kind
    for kind in (
        BadRequest,
        UnknownMethod,
        BadSession,
        NotFound,
        Expired,
        Overloaded,
        Busy,
        Fenced,
        Exists,
        Denied,
        TooLarge,
        Unavailable,
        Storage,
        Corrupt,
    )
}


def from_code(code: str, message: str, detail: Optional[dict[str, Any]] = None) -> Error:
    return BY_CODE.get(code, Error)(message, detail)


def from_wire(error: Any) -> Error:
    """The exception for the `error` of a response."""
    if isinstance(error, (list, tuple)) and len(error) == 3:
        code, message, detail = error
        return from_code(str(code), str(message), detail if isinstance(detail, dict) else None)
    return Error(str(error))
