"""What a chat layer sends to a language model. Nothing is sent here."""

from __future__ import annotations

from schemas import UserContext
from schemas.user_context import enriched_query
from worker.demo.cast import Question
from worker.demo.scene import PromptPair


def prompt_pair(question: Question, record: UserContext | None) -> PromptPair:
    """The question alone, and the question behind what the record says of who asks."""
    activity = record.get_user_activity() if record is not None else ""
    return PromptPair(question.person.name, question.text, enriched_query(question.text, activity))
