"""Publish payloads from JSON lines: judge each line, key it by its session, move it to now if asked, deliver it.

A line that the worker could not read is not sent; it is counted, with its number and the reason. A line that the worker
skips (a summary) is sent: it belongs on the topic.
"""

from __future__ import annotations

import gzip
import math
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from io import SEEK_END
from pathlib import Path
from typing import IO, Any

import orjson

from schemas.actions import identifier
from schemas.codec import InvalidPayload, Skip, read_payload
from worker.errors import ExitCode, Fatal
from worker.kafka import KafkaError, KafkaException, Producer, producer_config, translate
from worker.publisher import ActionsPublisher, Failure, NotDelivered
from worker.settings import Settings
from worker.topic_policy import Topic

SAMPLE = "sample"
SHOWN_MISTAKES = 5
LARGEST_RECORD_BYTES = 100_000_000  # what the topic takes is the broker's to say
LARGEST_BATCH_BYTES = 1_000_000
QUEUE_FULL_WAIT_S = 0.1
MANY_USERS = 1000
PROGRESS_EVERY = 256  # lines

_TIMES = ("forwarded_at",)
_ACTION_TIMES = ("timestamp_start", "timestamp_end")


@dataclass(frozen=True, slots=True)
class Mistake:
    """A line that was not sent, or that the broker did not take."""

    line: int
    reason: str


@dataclass(slots=True)
class Produced:
    """What became of the lines. `mistakes` holds the first few, `bad` and `refused` count all."""

    sent: int = 0
    bad: int = 0
    refused: int = 0
    newest_users: dict[str, float] = field(default_factory=dict)  # user id to the event time they were last seen at
    mistakes: list[Mistake] = field(default_factory=list)
    interrupted: bool = False  # by Ctrl-C: what was read before is delivered
    error: KafkaError | None = None  # why deliveries failed that no line is to blame for

    @property
    def delivered(self) -> int:
        return self.sent - self.refused

    def blame(self, line: int, reason: str) -> None:
        if len(self.mistakes) < SHOWN_MISTAKES:
            self.mistakes.append(Mistake(line, reason))

    def latest_users(self, count: int = 3) -> list[str]:
        """Who was seen last, newest first."""
        return sorted(self.newest_users, key=lambda user: (-self.newest_users[user], user))[:count]


class BadLine(ValueError):
    """The worker could not read this line; the message says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that may be sent. `event_time` is None where it has none that is believable."""

    key: bytes
    value: bytes
    user_id: str
    event_time: float | None


def read_line(text: bytes) -> Line:
    """Judge one line as the worker would, and find its key.

    Raises:
        BadLine: it would be a dead letter, or has no session to be keyed by.
    """
    try:
        payload = read_payload(text)
    except InvalidPayload as exc:
        raise BadLine(str(exc)) from exc
    if payload is Skip.NO_SESSION_ID:
        raise BadLine("there is no session_id to key the record by")
    if isinstance(payload, Skip):
        document = orjson.loads(text)
        session_id = document.get("session_id")
        key = identifier(session_id) if isinstance(session_id, (str, int)) else ""
        return Line(key.encode(), text, "", None)
    forwarded_at = payload.forwarded_at
    event_time = forwarded_at if forwarded_at is not None and forwarded_at > 0 else None
    return Line(payload.session_id.encode(), text, payload.user_id, event_time)


def shifted(text: bytes, seconds: float) -> bytes:
    """The payload with all its event times moved; a missing time stays missing, and so does a zero."""
    document: dict[str, Any] = orjson.loads(text)
    _shift(document, _TIMES, seconds)
    for action in document.get("actions") or ():
        if isinstance(action, dict):
            _shift(action, _ACTION_TIMES, seconds)
    return orjson.dumps(document)


def _shift(record: dict[str, Any], names: tuple[str, ...], seconds: float) -> None:
    for name in names:
        value = record.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            record[name] = round(value + seconds, 3)


class Source:
    """JSON lines. A file, gzip or plain, can be read more than once; a pipe is read as it comes."""

    def __init__(self, stream: IO[bytes], size: int | None) -> None:
        self._stream = stream
        self.size = size  # bytes, packed ones where it is packed; None = a pipe
        self._line = 0

    @property
    def position(self) -> int:
        """How many of `size` were read; of a pipe, how many lines."""
        return self._stream.tell() if self.size is not None else self._line

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Numbered from 1, without blank ones."""
        for number, line in enumerate(self._unpacked(), start=1):
            self._line = number
            text = line.strip(b"\r\n\t ")
            if text:
                yield number, text

    def _unpacked(self) -> Iterable[bytes]:
        if self.size is None:
            return self._stream
        self._stream.seek(0)
        packed = self._stream.read(2) == b"\x1f\x8b"
        self._stream.seek(0)
        return gzip.GzipFile(fileobj=self._stream) if packed else self._stream


@contextmanager
def open_source(name: str, *, twice: bool = False) -> Iterator[Source]:
    """A file, `-` for stdin, or the sample; `twice` when it will be read more than once.

    Raises:
        Fatal: USAGE, it cannot be read.
    """
    path = resources.files("worker") / "sample.jsonl.gz" if name == SAMPLE else Path(name)
    try:
        if name != "-":
            with path.open("rb") as stream:
                yield Source(stream, stream.seek(0, SEEK_END))
        elif twice:
            with tempfile.TemporaryFile() as copy:  # on disk: it may be large
                shutil.copyfileobj(sys.stdin.buffer, copy)
                yield Source(copy, copy.tell())
        else:
            yield Source(sys.stdin.buffer, None)
    except (OSError, EOFError, zlib.error) as exc:
        hint = f"give a file of JSON lines, - for stdin, or {SAMPLE} for the hour that ships with the worker"
        raise Fatal(ExitCode.USAGE, f"cannot read {name}: {exc}", hint=hint) from exc


def shift_to_now(source: Source) -> float:
    """Seconds from the newest event of the lines to now.

    Raises:
        Fatal: USAGE, no line has an event time.
    """
    newest = -math.inf
    for _, text in source.lines():
        try:
            newest = max(newest, read_line(text).event_time or -math.inf)
        except BadLine:
            continue  # told when it is not sent
    if newest == -math.inf:
        raise Fatal(ExitCode.USAGE, "no line has an event time to move to now", hint="leave --rebase away")
    return time.time() - newest


def publish(source: Source, settings: Settings, topic: Topic, shift_s: float, progress: Callable[[], None]) -> Produced:
    """Send every line that can be read to the input topic and wait for its delivery.

    Raises:
        Fatal: the broker does not take anything, e.g. no right to write.
    """
    done = Produced()
    publisher = ActionsPublisher.over(open_producer(settings, topic), topic.name, on_failure=partial(_judge, done))
    try:
        for number, text in source.lines():
            _publish_line(publisher, done, (number, text), shift_s)
            if source.size is None or (done.sent + done.bad) % PROGRESS_EVERY == 1:
                progress()
            if done.error is not None:
                break
    except KeyboardInterrupt:  # how a pipe that has no end is ended
        done.interrupted = True
    finally:
        left = publisher.drain(settings.delivery_timeout_ms / 1000 + 1)
        with suppress(NotDelivered):  # judged already
            publisher.close(0)
    progress()
    require_delivery(done.error, left, f"writing to {topic.name} ({done.delivered} of {done.sent} were delivered)")
    return done


def require_delivery(error: KafkaError | None, left: int, doing: str) -> None:
    """After a flush. `error`: why a delivery failed that no record is to blame for; `left`: what got no answer.

    Raises:
        Fatal: something was not delivered, or it is not known. Sending it again may send it twice.
    """
    if error is None and not left:
        return
    why = f"while {doing}: no answer for {left} more"
    if error is not None:
        cause = translate(error, doing)
        if isinstance(cause, Fatal):
            raise cause
        why = str(cause)
    raise Fatal(ExitCode.BROKER_UNREACHABLE, why, hint="look at the broker's health; records may be sent twice")


def _publish_line(publisher: ActionsPublisher, done: Produced, numbered: tuple[int, bytes], shift_s: float) -> None:
    number, text = numbered
    try:
        line = read_line(text)
    except BadLine as exc:
        done.bad += 1
        done.blame(number, str(exc))
        return
    value = shifted(text, shift_s) if shift_s else text
    publisher.publish(line.key, value, number)
    _count(done, line)


def open_producer(settings: Settings, topic: Topic) -> Producer:
    """A producer for a topic that is not ours; what it reports are failures.

    Raises:
        WorkerError: the settings do not make one.
    """
    batch_bytes = min(LARGEST_BATCH_BYTES, topic.max_message_bytes)
    try:
        config = producer_config(
            settings, linger_ms=50, max_message_bytes=LARGEST_RECORD_BYTES, batch_bytes=batch_bytes
        )
        return Producer(config)
    except KafkaException as exc:
        raise translate(exc, "setting up the producer") from exc


def _judge(done: Produced, failure: Failure) -> None:
    assert isinstance(failure.subject, int), "the number of the line"
    done.refused += 1
    if failure.refused:
        done.blame(failure.subject, f"the broker does not take it: {failure.reason}")
    else:
        done.error = done.error or failure.error


def _count(done: Produced, line: Line) -> None:
    done.sent += 1
    if line.user_id and line.event_time is not None:
        done.newest_users[line.user_id] = max(done.newest_users.get(line.user_id, 0.0), line.event_time)
        if len(done.newest_users) > MANY_USERS:  # only the newest few are told, however large the file
            done.newest_users = {user: done.newest_users[user] for user in done.latest_users()}
