"""Payload classes that are not ours work in our stores, and ours work in stores that are not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from schemas import ActionsPayload
from tests.payloads import NOW, ManualClock, activity, payload
from worker import ContextStore, UserSessionIndex


@dataclass
class ForeignAction:
    """The SDK's action, as far as a store looks at it."""

    index: int
    type: str
    description: str
    canonical_url: str


@dataclass
class ForeignPayload:
    """The SDK's payload, as far as a store looks at it; also with fields that it would not leave empty."""

    product_id: str | None
    session_id: str | int | None
    user_id: str | int | None
    email: str | None
    actions: list[ForeignAction]
    forwarded_at: float | None


class ForeignStore:
    """A store as the SDK's: it keeps payloads, trims one by making a changed copy, and asks actions for their text."""

    def __init__(self) -> None:
        self.payloads: list[ActionsPayload] = []

    def add(self, payload: ActionsPayload) -> None:
        self.payloads.append(payload)

    def get(self, session_id: str, *, product_id: str | None = None) -> str:
        kept = [p for p in self.payloads if p.session_id == session_id and (p.product_id or None) == product_id]
        trimmed = [replace(p, actions=p.actions[-1:], count=1) for p in kept]
        return "\n".join(action.to_text() for p in trimmed for action in p.actions)


def foreign(text: str) -> ForeignPayload:
    shown = ForeignAction(0, "pageview", text, "https://app.example.com/billing")
    return ForeignPayload("acme", "ps_1", "user_456", "alice@example.com", [shown], NOW)


def test_foreign_payloads_are_remembered() -> None:
    clock = ManualClock()
    store = ContextStore(clock=clock)
    index = UserSessionIndex(store, clock=clock)
    store.add(foreign("a"))
    index.add(foreign("a"))
    assert index.get_user_activity("user_456") == f"Session ps_1 (acme):\n{activity('a')}"
    assert index.get_email("user_456") == "alice@example.com"


def test_a_foreign_payload_may_have_integers_for_ids_and_nothing_for_the_rest() -> None:
    clock = ManualClock()
    store = ContextStore(clock=clock)
    index = UserSessionIndex(store, clock=clock)
    sparse = ForeignPayload(None, 7, 42, None, [ForeignAction(0, "", "", "")], None)
    store.add(sparse)
    index.add(sparse)
    assert index.get_user_activity("42") == "Session 7 (no-product-id):\nRecent activity:\n1. [0] :  — "


def test_our_payloads_work_in_a_foreign_store() -> None:
    store = ForeignStore()
    index = UserSessionIndex(store, clock=ManualClock())
    for made in (payload("a", "b"), payload("c", session="ps_2", at=NOW - 1)):
        store.add(made)
        index.add(made)
    assert index.get_user_activity("user_456") == (
        "Session ps_1 (acme):\n[1] pageview: b — https://app.example.com/billing\n\n"
        "Session ps_2 (acme):\n[0] pageview: c — https://app.example.com/billing"
    )
