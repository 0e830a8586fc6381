"""librdkafka's own lines: through the process's log, without its noise, and not without end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from worker.connection_hints import without_secret

# Lines about connections come by the dozen with every broker restart; what matters of them reaches us as errors.
_NOISE = frozenset(
    {"FAIL", "ERROR", "DISCONNECT", "CLSDISC", "CONFWARN", "REQTMOUT", "CONNECT", "HBUPDATE", "TERMINATE"}
)
# A transaction that fails ends its producer, and another one takes its place: nothing to be alarmed about.
_OF_TRANSACTIONS = frozenset({"FATAL", "TXNERR", "GETPID"})

MOST_LINES = 10  # of one kind within
PER_S = 60.0


def client_log() -> logging.Logger:
    """The logger of librdkafka's lines: its levels, but the noise of connections, and all below a warning, is DEBUG."""
    return _log("librdkafka", _demote_noise)


def transactions_log() -> logging.Logger:
    """The same for a transactional producer, where the end of a transaction is DEBUG, too."""
    return _log("librdkafka.transactions", _demote_ends_of_transactions)


def _log(name: str, demote: Callable[[logging.LogRecord], bool]) -> logging.Logger:
    logger = logging.getLogger(name)
    if demote not in logger.filters:
        logger.addFilter(demote)
        logger.addFilter(RateLimit())
    return logger


def _demote_noise(record: logging.LogRecord) -> bool:
    return _demote(record, _NOISE)


def _demote_ends_of_transactions(record: logging.LogRecord) -> bool:
    return _demote(record, _NOISE | _OF_TRANSACTIONS)


def _demote(record: logging.LogRecord, facilities: frozenset[str]) -> bool:
    if _facility(record) in facilities or record.levelno < logging.WARNING:
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
    if isinstance(record.args, tuple):
        record.args = tuple(without_secret(arg) if isinstance(arg, str) else arg for arg in record.args)
    return logging.getLogger(record.name).isEnabledFor(record.levelno)


def _facility(record: logging.LogRecord) -> str:
    """What librdkafka calls the kind of a line: there is a fixed number of them."""
    return str(record.args[0]) if isinstance(record.args, tuple) and record.args else ""


class Window(NamedTuple):
    """What came of one kind since a moment (monotonic)."""

    since: float = float("-inf")
    shown: int = 0
    withheld: int = 0


class RateLimit:
    """A filter that lets at most MOST_LINES of a kind through in PER_S; the next one says how many were withheld. What
    is below a warning is shown only to who asked for all of it, so it passes."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._windows: dict[str, Window] = {}

    def __call__(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        facility, now = _facility(record), self._now()
        since, shown, withheld = self._windows.get(facility, Window())
        if now - since >= PER_S:
            if withheld:
                record.msg = f"{record.msg} (and {withheld} more of {facility} before)"
            since, shown, withheld = now, 0, 0
        passes = shown < MOST_LINES
        self._windows[facility] = Window(since, shown + passes, withheld + (not passes))
        return passes
