"""What is sent: the clicks of the cast as payloads in the order of time, and what comes between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from worker.demo.cast import VISITS, Person, Visit

UNREADABLE = b'{"session_id": "s-old-tracker", "actions": [{"title": "cut off in the mid'
SUMMARY: dict[str, Any] = {
    "type": "summary",
    "session_id": "s-noah-desk",
    "summary": "Looked at reports.",
    "actions": [],
}


@dataclass(frozen=True, slots=True)
class Step:
    """One record, to be sent `at_s` seconds after the traffic began. Without a payload it is one nobody can read."""

    at_s: float
    key: str
    person: Person | None
    payload: dict[str, Any] | None
    note: str | None = None

    def value(self, now: float) -> bytes:
        """The record's value when it is sent at `now`, Unix seconds."""
        if self.payload is None:
            return UNREADABLE
        actions = [{**action, "timestamp_start": now, "timestamp_end": now} for action in self.payload["actions"]]
        return orjson.dumps({**self.payload, "actions": actions, "forwarded_at": now})


OTHERS = (
    Step(3.6, "s-old-tracker", None, None, "An old tracker sends half a record: a dead letter, the rest goes on"),
    Step(4.0, "s-noah-desk", None, SUMMARY),
)


def steps() -> list[Step]:
    """Everything that is sent, in the order of time."""
    return sorted([*OTHERS, *(step for visit in VISITS for step in _steps_of(visit))], key=lambda step: step.at_s)


def _steps_of(visit: Visit) -> list[Step]:
    return [
        Step(
            at_s=visit.start_s + number * visit.every_s,
            key=visit.session_id,
            person=visit.person,
            payload=_payload(visit, number),
            note=visit.notes.get(number),
        )
        for number in range(len(visit.clicks))
    ]


def _payload(visit: Visit, number: int) -> dict[str, Any]:
    kind, description, path = visit.clicks[number]
    product_id, address = visit.product
    known = visit.known_from <= number < visit.known_until
    action = {
        "index": number,
        "type": kind,
        "title": description,
        "description": description,
        "canonical_url": address + path,
        "raw_url": f"{address}{path}?ref=nav",
    }
    return {
        "type": "actions",
        "product_id": product_id,
        "session_id": visit.session_id,
        "user_id": visit.person.user_id if known else None,
        "email": visit.person.email if known else None,
        "conversation_id": visit.conversation_id,
        "actions": [action],
        "count": 1,
    }
