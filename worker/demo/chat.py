"""What a chat layer sends to a language model. Nothing is sent here."""

from __future__ import annotations

from schemas import UserContext
from worker.demo.cast import Question
from worker.demo.scene import PromptPair


def prompt_pair(question: Question, record: UserContext | None) -> PromptPair:
    """The question alone, and the question behind what the record says of who asks."""
    activity = record.get_user_activity() if record is not None else ""
    return PromptPair(question.person.name, question.text, enriched(question.text, activity))


def enriched(query: str, context: str) -> str:
    """The form that the public store's `enrich` gives to a query."""
    return f"[Session context]\n{context}\n\n[Query]\n{query}" if context else query
