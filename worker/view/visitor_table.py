"""The newest record of every session id, and what is known of a session: a visitor's, or a user's. No Kafka, no clock.

The session's record says whose a session is; what a user did in it stands in the user's record alone. The two come from
two topics, in any order, so each read decides anew, and never shows a session under two owners.
"""

from __future__ import annotations

from schemas.user_context import SCHEMA_VERSION, KnownSession, SessionContext
from schemas.user_record import InvalidRecord, VisitorRecord, read_visitor
from worker.view.record_table import Entry, RecordTable
from worker.view.table import ContextTable


class VisitorTable(RecordTable):
    """The session topic. Its records have no version: the later one counts."""

    def record(self, session_id: str) -> VisitorRecord | None:
        """The newest record, whatever the time; None when there is none."""
        entry = self._entries.get(session_id)
        return None if entry is None else read_visitor(entry.value)

    def session_ids_in(self, conversation_id: str) -> set[str]:
        """Sessions that visitors' records place in a conversation, expired ones too."""
        return set(self._conversations.of(conversation_id))

    def _decode(self, partition: int, key: str, value: bytes) -> Entry | None:
        try:
            record = read_visitor(value)
        except InvalidRecord:
            return None
        if record.session_id != key:
            return None
        if record.schema_version > SCHEMA_VERSION:
            self.counts.newer_schema += 1
        conversations = tuple({one.conversation_id: None for one in record.sessions if one.conversation_id})
        return Entry(0, record.expires_at, conversations, (), value, partition)


def session_as_of(
    visitors: VisitorTable, users: ContextTable, session_id: str, product_id: str | None, now: float
) -> KnownSession | None:
    """What is known of a session at `now`; None when that is nothing, or it is not clear which session is meant: no
    product is named, and several have one of this id.

    The session's record says whose it is: until it has come nothing is known, and where it names a user, what their
    record tells of the session. Where another one's record tells of it up to the same time or beyond, the session's
    record is not the newest: nothing is known until that has come.
    """
    record = visitors.record(session_id)
    if record is None:
        return None
    since = now - (record.expires_at - record.updated_at)
    visiting = {one.product_id: one for one in record.sessions if one.last_seen_at >= since}
    owned = list(users.sessions(session_id, now))
    products = {product_id} if product_id else {*visiting, *(session.product_id for _, session in owned)}
    if len(products) != 1:
        return None
    (product,) = products
    owners: dict[str | None, SessionContext] = {
        user: session for user, session in owned if session.product_id == product
    }
    visit = visiting.get(product)
    if visit is not None:
        owners[None] = visit.session()
    owner = record.linked_user_id if visit is None else None
    found = owners.pop(owner, None)
    if found is None or any(other.last_seen_at >= found.last_seen_at for other in owners.values()):
        return None
    return KnownSession.of(found, owner)


def session_in_conversation(
    visitors: VisitorTable, users: ContextTable, conversation_id: str, product_id: str | None, now: float
) -> KnownSession | None:
    """The one session that is in a conversation; None when none is, or several are."""
    ids = visitors.session_ids_in(conversation_id) | users.session_ids_in(conversation_id)
    sessions = [session_as_of(visitors, users, session_id, product_id, now) for session_id in ids]
    found = [one for one in sessions if one is not None and one.conversation_id == conversation_id]
    return found[0] if len(found) == 1 else None
