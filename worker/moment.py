"""A point in time as people name it on a command line: a time, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime

from worker.errors import ExitCode, Fatal

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|min|m|h|d|w)")
_SPANS = re.compile(r"(?:\d+(?:\.\d+)?(?:s|min|m|h|d|w)\s*)+")
_UNIX_SECONDS = re.compile(r"\d{9,11}(?:\.\d+)?")  # fewer digits lack a unit, more are milliseconds
SHOWN = "15m, 2h30m, 3d (ago), 2026-05-31T14:00, 2026-05-31T12:00:00Z, or Unix seconds"


def moment(text: str, now: float) -> float:
    """Unix seconds of a time: a span before `now`, an ISO 8601 time (without a zone: of this machine), Unix seconds.

    Raises:
        Fatal: USAGE, it is none of these.
    """
    text = text.strip()
    if _UNIX_SECONDS.fullmatch(text):
        return float(text)
    if _SPANS.fullmatch(text):
        return now - sum(float(number) * _UNITS[unit] for number, unit in _SPAN.findall(text))
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as exc:
        raise Fatal(ExitCode.USAGE, f"{text!r} is no point in time", hint=f"give one as {SHOWN}") from exc
