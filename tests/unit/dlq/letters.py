"""Dead letters to test with."""

from __future__ import annotations

from schemas.dead_letter import DeadLetter, Header
from worker.dlq.letter import Letter

NOW = 1_712_345_678.0
OWN: list[Header] = [("trace", b"\xff"), ("empty", None)]


def letter(
    offset: int = 0,
    *,
    partition: int = 0,
    reason: str = "wrong_type",
    value: bytes | None = b'{"session_id": 1.5}',
    age_s: float = 0.0,
    **why: object,
) -> Letter:
    """Written `age_s` before NOW, and a second after its record."""
    written_ms = round((NOW - age_s) * 1000)
    said: dict[str, object] = {
        "field": "session_id",
        "source_topic": "actions",
        "source_partition": partition,
        "source_offset": 100 + offset,
        "source_timestamp_ms": written_ms - 1000,
        "software_version": "0.1.0",
        **why,
    }
    headers = DeadLetter(reason=reason, **said)  # type: ignore[arg-type]
    return Letter(partition, offset, written_ms, b"key", value, headers.to_headers(OWN), headers)
