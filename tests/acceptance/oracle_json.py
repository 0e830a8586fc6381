"""How the oracle reads a value: as strict as JSON is, with the standard library alone."""

from __future__ import annotations

import json
import math
from typing import Any

MAX_DEPTH = 1000


class UndecodableError(Exception):
    """The record is a dead letter."""


class SkippedError(Exception):
    """The record is passed over; the message is the reason."""


def decode(value: bytes | None) -> dict[str, Any]:
    """The JSON object in a value, plain or behind the schema registry's five bytes."""
    if value is None:
        raise SkippedError("null value")
    if value.startswith(b"\x00"):
        value = value[5:]
    try:
        document = json.loads(value.decode("utf-8"), parse_constant=refuse_constant, parse_float=finite)
    except (ValueError, RecursionError) as error:
        raise UndecodableError(f"not JSON: {type(error).__name__}") from error
    refuse_what_json_does_not_hold(document)
    if not isinstance(document, dict):
        raise UndecodableError("not an object")
    return document


def refuse_constant(name: str) -> float:
    """NaN and the infinities are Python's addition to JSON."""
    raise ValueError(name)


def finite(text: str) -> float:
    """A number as a double; one that is too large for it is refused."""
    value = float(text)
    if math.isinf(value):
        raise ValueError(text)
    return value


def refuse_what_json_does_not_hold(document: object) -> None:
    """Lone surrogates, anywhere, are no text; too deep a nesting is an attack."""
    stack: list[tuple[object, int]] = [(document, 1)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise UndecodableError("too deep")
        if isinstance(node, str):
            try:
                node.encode("utf-8")
            except UnicodeEncodeError as error:
                raise UndecodableError("lone surrogate") from error
        elif isinstance(node, list):
            stack.extend((item, depth + 1) for item in node)
        elif isinstance(node, dict):
            stack.extend((item, depth + 1) for pair in node.items() for item in pair)
