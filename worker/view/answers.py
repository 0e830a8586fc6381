"""What the HTTP service answers: JSON of what is known of a user, and an id that tells one answer from the next."""

from __future__ import annotations

import zlib

from pydantic import BaseModel, Field

from schemas.user_context import KnownSession, UserContext, enriched_query
from worker.view.status import ViewStatus


class ContextAnswer(UserContext):
    """What is known of a user now: the record without what is expired, and the texts that a prompt needs."""

    activity: str = Field(description="The context of all sessions as one text, newest session first.")
    enriched_query: str | None = Field(
        default=None, description="The query behind what is known of the user, as a prompt; null without a query."
    )
    status: ViewStatus = Field(description="`degraded`: something newer may be missing.")

    @classmethod
    def of(cls, record: UserContext, query: str | None, status: ViewStatus) -> ContextAnswer:
        """The answer to a question about a user of whom something is known."""
        activity = record.get_user_activity()
        enriched = None if query is None else enriched_query(query, activity)
        known = {name: getattr(record, name) for name in UserContext.model_fields}
        return cls.model_construct(**known, activity=activity, enriched_query=enriched, status=status)

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()


class SessionAnswer(KnownSession):
    """What is known of a session now, and the text that a prompt needs."""

    enriched_query: str | None = Field(
        default=None, description="The query behind what is known of the session, as a prompt; null without a query."
    )
    status: ViewStatus = Field(description="`degraded`: something newer may be missing.")

    @classmethod
    def about(cls, session: KnownSession, query: str | None, status: ViewStatus) -> SessionAnswer:
        """The answer to a question about a session of which something is known."""
        enriched = None if query is None else enriched_query(query, session.context)
        known = {name: getattr(session, name) for name in KnownSession.model_fields}
        return cls.model_construct(**known, enriched_query=enriched, status=status)

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str


class ResetWritten(BaseModel):
    """A reset that is on its topic for good; its effect follows when the user's owner has read it."""

    topic: str
    partition: int
    offset: int


def answer_id(record: UserContext | None) -> str:
    """What an answer says, in short: two of the same id say the same, whichever instance gave them."""
    if record is None:
        return "0"
    return f"{record.version}-{zlib.crc32(record.model_dump_json().encode()):08x}"
