"""The examples do what they say, and stay short."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from examples import chat_service
from tests.fakes.chat import Chat
from tests.payloads import activity
from tests.user_records import record, session


def test_the_chat_service_answers_with_what_the_user_did() -> None:
    chat = Chat()
    chat.write("u", record("u", 1, session("s", "opened Billing")))
    app = chat_service.chat_service(chat.view())

    async def scenario() -> tuple[str, str]:
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://c") as ask:
            message = {"message": "How?"}
            told = [await ask.post("/chat", json=message, headers={"X-User-Id": user}) for user in ("u", "nobody")]
            return told[0].json(), told[1].json()

    known, unknown = asyncio.run(scenario())
    assert known.endswith(f"[Session context]\nSession s (acme):\n{activity('opened Billing')}\n\n[Query]\nHow?")
    assert chat_service.RULES in known
    assert unknown.endswith(f"{chat_service.RULES}\n\nHow?")


def test_the_chat_service_has_forty_lines() -> None:
    assert len(Path(chat_service.__file__).read_text().splitlines()) <= 40
