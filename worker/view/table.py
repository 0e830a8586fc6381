"""The newest record of every user, and what is known of them at a time. No Kafka, no clock."""

from __future__ import annotations

from schemas.user_context import SCHEMA_VERSION, SessionContext, UserContext
from schemas.user_record import InvalidRecord, SessionRecord, UserRecord, read_record
from worker.view.record_table import Entry, RecordTable


class ContextTable(RecordTable):
    """The output topic. `finds_sessions`: users can be found by their sessions' ids, which takes memory for each."""

    def __init__(self, *, finds_sessions: bool = False) -> None:
        super().__init__()
        self._finds_sessions = finds_sessions

    def get(self, user_id: str, product_id: str | None, now: float) -> UserContext | None:
        """What is known of a user at `now`, of one product if named; None when that is nothing."""
        entry = self._entries.get(user_id)
        if entry is None or entry.expires_at < now:
            return None
        return _as_of(read_record(entry.value), product_id, now)

    def by_conversation(self, conversation_id: str, product_id: str | None, now: float) -> UserContext | None:
        """The one user who is in this conversation; None when nobody is, or several are."""
        found = [
            context
            for user_id in self._conversations.of(conversation_id) or ()
            if (context := self.get(user_id, product_id, now)) is not None
            and any(session.conversation_id == conversation_id for session in context.sessions)
        ]
        return found[0] if len(found) == 1 else None

    def sessions(self, session_id: str, now: float) -> list[tuple[str, SessionContext]] | None:
        """All sessions of this id, of any product, and whose they are; None when that are too many. Where sessions can
        be found."""
        user_ids = self._session_ids.of(session_id)
        if user_ids is None:
            return None
        contexts = [(user_id, self.get(user_id, None, now)) for user_id in user_ids]
        return [
            (user_id, session)
            for user_id, context in contexts
            if context is not None
            for session in context.sessions
            if session.session_id == session_id
        ]

    def session_ids_in(self, conversation_id: str) -> set[str] | None:
        """Sessions that users' records place in a conversation, expired ones too; None when that are too many."""
        user_ids = self._conversations.of(conversation_id)
        if user_ids is None:
            return None
        entries = [self._entries.get(user_id) for user_id in user_ids]
        records = [read_record(entry.value) for entry in entries if entry is not None]
        return {
            session.session_id
            for record in records
            for session in record.sessions
            if session.conversation_id == conversation_id
        }

    def _decode(self, partition: int, key: str, value: bytes) -> Entry | None:
        try:
            record = read_record(value)
        except InvalidRecord:
            return None
        if record.user_id != key:
            return None
        if record.schema_version > SCHEMA_VERSION:
            self.counts.newer_schema += 1
        conversations = tuple({one.conversation_id: None for one in record.sessions if one.conversation_id})
        session_ids = tuple({one.session_id: None for one in record.sessions}) if self._finds_sessions else ()
        return Entry(record.version, record.expires_at, conversations, session_ids, value, partition)


def _as_of(record: UserRecord, product_id: str | None, now: float) -> UserContext | None:
    """Without the sessions that were last seen longer ago than the lookback; None when that leaves nothing."""
    since = now - (record.expires_at - record.updated_at)

    def counts(session: SessionRecord) -> bool:
        return session.last_seen_at >= since and (product_id is None or session.product_id == product_id)

    sessions = tuple([session for session in record.sessions if counts(session)])
    return record.context(sessions) if sessions else None
