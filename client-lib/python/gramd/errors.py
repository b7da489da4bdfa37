"""What can go wrong: one exception class for each error code of the protocol, all under `Error`."""

from __future__ import annotations

from typing import Any, ClassVar, Optional


class Error(Exception):
    """An error that the daemon answered with, or that kept its answer from coming."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, detail: Optional[dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail

    def again(self) -> Error:
        """A fresh one, for another who is to raise it."""
        return type(self)(self.message, self.detail)


class BadRequest(Error):
    """Wrong parameters; nothing has been changed."""

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
    """Too many unanswered requests on the session; this one was not executed."""

    code = "overloaded"


class Busy(Error):
    """The session is held by somebody else, or its file is locked by another program."""

    code = "busy"

    @property
    def holder(self) -> Optional[dict[str, Any]]:
        """Who holds it (pid, uid, client, host, since), where the daemon knows."""
        holder = self.detail.get("holder") if self.detail else None
        return holder if isinstance(holder, dict) else None

    def __str__(self) -> str:
        if self.holder is None:
            return self.message
        client, pid, host = (self.holder.get(key) for key in ("client", "pid", "host"))
        return f"{self.message} (held by {client or 'a client'}, pid {pid}, on {host})"


class Fenced(Error):
    """Another host owns the session now: the application must stop using its key."""

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
    """The backend cannot be reached now; a write may or may not have happened, and repeating it is right."""

    code = "unavailable"


class Storage(Error):
    """The backend refused (disk full, I/O error, read-only file); the write did not happen."""

    code = "storage"


class Corrupt(Error):
    """The stored session is damaged or of a kind that is not understood; it was left untouched."""

    code = "corrupt"


class TimedOut(Error, TimeoutError):
    """No answer within the timeout; a write may or may not have happened."""

    code = "timed_out"


class Disconnected(Error, ConnectionError):
    """The client was closed before the answer came."""

    code = "disconnected"


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
    """The exception for the `error` part of an answer; foreign daemons may send anything there."""
    if isinstance(error, (list, tuple)) and len(error) == 3:
        code, message, detail = error
        return from_code(str(code), str(message), detail if isinstance(detail, dict) else None)
    return Error(str(error))
