"""The newest record of every session id, and what is known of a session: a visitor's, or a user's. No Kafka, no clock.

The session's record says whose a session is; what a user did in it stands in the user's record alone. The two come from
two topics, in any order, so each read decides anew, and never shows a session under two owners.
"""

from __future__ import annotations

from typing import NamedTuple

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

    def session_ids_in(self, conversation_id: str) -> set[str] | None:
        """Sessions that visitors' records place in a conversation, expired ones too; None when that are too many."""
        session_ids = self._conversations.of(conversation_id)
        return None if session_ids is None else set(session_ids)

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


class Claims(NamedTuple):
    """What both topics say of the sessions of one id at a time."""

    record: VisitorRecord | None
    visiting: dict[str | None, SessionContext]  # by product: what the session's record tells
    owned: list[tuple[str, SessionContext]]  # whose records tell of one

    def products(self) -> set[str | None]:
        """Those that have a session of this id."""
        return {*self.visiting, *(session.product_id for _, session in self.owned)}

    def products_in(self, conversation_id: str) -> set[str | None]:
        """Those of which somebody's record places a session in a conversation."""
        sessions = [*self.visiting.values(), *(session for _, session in self.owned)]
        return {session.product_id for session in sessions if session.conversation_id == conversation_id}

    def session(self, product_id: str | None) -> KnownSession | None:
        """The one of this product; None when it is not known, or not clear whose it is."""
        if self.record is None:
            return None
        owners: dict[str | None, SessionContext] = {
            user: session for user, session in self.owned if session.product_id == product_id
        }
        owner = self.record.linked_user_id
        if product_id in self.visiting:
            owner = None
            owners[None] = self.visiting[product_id]
        found = owners.pop(owner, None)
        if found is None or any(other.last_seen_at >= found.last_seen_at for other in owners.values()):
            return None
        return KnownSession.of(found, owner)


def claims_of(visitors: VisitorTable, users: ContextTable, session_id: str, now: float) -> Claims:
    """Of the sessions of an id, what is not expired. An id that too many users have is no session's: nothing."""
    owned = users.sessions(session_id, now)
    if owned is None:
        return Claims(None, {}, [])
    record = visitors.record(session_id)
    visiting: dict[str | None, SessionContext] = {}
    if record is not None:
        since = now - (record.expires_at - record.updated_at)
        visiting = {one.product_id: one.session() for one in record.sessions if one.last_seen_at >= since}
    return Claims(record, visiting, owned)


def session_as_of(
    visitors: VisitorTable, users: ContextTable, session_id: str, product_id: str | None, now: float
) -> KnownSession | None:
    """What is known of a session at `now`; None when that is nothing, or it is not clear which session is meant: no
    product is named, and several have one of this id.

    The session's record says whose it is: until it has come nothing is known, and where it names a user, what their
    record tells of the session. Where another one's record tells of it up to the same time or beyond, the session's
    record is not the newest: nothing is known until that has come.
    """
    claims = claims_of(visitors, users, session_id, now)
    products = {product_id} if product_id else claims.products()
    return claims.session(products.pop()) if len(products) == 1 else None


def session_in_conversation(
    visitors: VisitorTable, users: ContextTable, conversation_id: str, product_id: str | None, now: float
) -> KnownSession | None:
    """The one session that is in a conversation; None when none is, or several may be: one of which it is not clear
    whose it is counts."""
    visiting, owned = visitors.session_ids_in(conversation_id), users.session_ids_in(conversation_id)
    if visiting is None or owned is None:
        return None
    found: list[KnownSession | None] = []
    for session_id in visiting | owned:
        claims = claims_of(visitors, users, session_id, now)
        found += [claims.session(one) for one in claims.products_in(conversation_id) if product_id in (None, one)]
    may_be = [one for one in found if one is None or one.conversation_id == conversation_id]
    return may_be[0] if len(may_be) == 1 else None
