"""Payloads as they travel between the stages; their lines as text, and as they stand inside a JSON string."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from worker.pipeline.repartition import Reset, RoutedPayload, read


def json_lines(texts: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(orjson.dumps(text)[1:-1] for text in texts)


def as_texts(lines: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(orjson.loads(b'"' + line + b'"') for line in lines)


def routed_in(values: Iterable[bytes | None]) -> list[RoutedPayload]:
    """The payloads in records of the repartition topic; resets aside."""
    bundles = [read(None, value, None) for value in values if value is not None]
    return [payload for bundle in bundles if not isinstance(bundle, Reset) for payload in bundle]


def routed(
    user_id: str,
    event_time: float,
    source: int,
    *lines: str,
    stream_time: float | None = None,
    session_id: str = "a",
    product_id: str = "",
    conversation_id: str = "",
    email: str = "",
) -> RoutedPayload:
    """`stream_time` is the event's unless it is given."""
    stream = event_time if stream_time is None else stream_time
    told = json_lines(lines)
    return RoutedPayload(product_id, session_id, event_time, source, told, conversation_id, email, user_id, stream)
