"""The outcome of a call, in a form that can be compared between gramd's session and a library's own."""

from __future__ import annotations

from typing import Any


def shown(value: Any) -> Any:
    return value.to_dict() if hasattr(value, "to_dict") else value


def outcome(call: Any, *arguments: Any) -> Any:
    try:
        return shown(call(*arguments))
    except Exception as error:
        return type(error).__name__, [shown(each) for each in error.args]
