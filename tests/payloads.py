"""Payloads and a clock, short to write in a test."""

from __future__ import annotations

from schemas import ActionsPayload, SlimAction

NOW = 1_712_345_678.0


class ManualClock:
    """A clock that stands until a test moves it."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def action(description: str = "User landed on Billing", *, index: int = 0) -> SlimAction:
    return SlimAction(
        title="Billing",
        description=description,
        canonical_url="https://app.example.com/billing",
        index=index,
        type="pageview",
    )


def payload(
    *descriptions: str,
    session: str | None = "ps_1",
    product: str = "acme",
    user: str | None = "user_456",
    email: str | None = None,
    at: float = NOW,
) -> ActionsPayload:
    """One action for each description."""
    return ActionsPayload(
        product_id=product,
        session_id=session,
        user_id=user,
        email=email,
        actions=[action(text, index=index) for index, text in enumerate(descriptions)],
        count=len(descriptions),
        forwarded_at=at,
    )


def activity(*descriptions: str) -> str:
    """The context of actions that were each the only one of its payload."""
    lines = [
        f"{number}. [0] pageview: {text} — https://app.example.com/billing"
        for number, text in enumerate(descriptions, 1)
    ]
    return "\n".join(["Recent activity:", *lines])
