"""The questions that a chat service asks: plain calls, for threads and for asyncio alike. None of them waits."""

from __future__ import annotations

from collections.abc import Callable, Collection

from schemas.actions import identifier
from schemas.user_context import KnownSession, SessionRef, UserContext, enriched_query
from worker.kafka import murmur2
from worker.view.table import ContextTable
from worker.view.visitor_table import VisitorTable, session_as_of, session_in_conversation


class NotInShare(LookupError):
    """The user lives on a partition that this view does not read."""


class ContextReads:
    """Reads of a table as of now. Ids count as everywhere: no blanks around them, a number as its digits."""

    def __init__(
        self,
        table: ContextTable,
        clock: Callable[[], float],
        share: Collection[int] | None,
        count: Callable[[], int],
        visitors: VisitorTable | None = None,
    ) -> None:
        self._table = table
        self._clock = clock
        self._share = share
        self._count = count
        self._visitors = visitors

    def get(self, user_id: str, product_id: str | None = None) -> UserContext | None:
        """What is known of a user now; with `product_id`, of that product's sessions only. None when that is nothing.

        Raises:
            NotInShare: another instance holds the user.
        """
        user_id = identifier(user_id)
        self._require_share(user_id)
        return self._table.get(user_id, identifier(product_id) or None, self._clock())

    def get_user_activity(self, user_id: str, product_id: str | None = None) -> str:
        """The context of the recent sessions as one text, newest session first; "" when there is none."""
        record = self.get(user_id, product_id)
        return "" if record is None else record.get_user_activity()

    def get_email(self, user_id: str) -> str | None:
        """The user's e-mail address, where it is known and the worker may publish it."""
        record = self.get(user_id)
        return None if record is None else record.email

    def get_recent_sessions(self, user_id: str, product_id: str | None = None) -> list[SessionRef]:
        """The user's recent sessions, newest first."""
        record = self.get(user_id, product_id)
        sessions = () if record is None else record.sessions
        return [SessionRef(one.session_id, one.product_id, one.last_seen_at) for one in sessions]

    def get_by_conversation(self, conversation_id: str, product_id: str | None = None) -> UserContext | None:
        """What is known of the user who is in a conversation. None when nobody is, or several users are: no guess."""
        return self._table.by_conversation(identifier(conversation_id), identifier(product_id) or None, self._clock())

    def enrich(self, user_id: str, query: str, product_id: str | None = None) -> str:
        """The user's recent activity and then the query, as a prompt; the bare query when nothing is known."""
        return enriched_query(query, self.get_user_activity(user_id, product_id))

    @property
    def has_sessions(self) -> bool:
        """Whether it reads the topic of sessions."""
        return self._visitors is not None

    def get_session(self, session_id: str, product_id: str | None = None) -> KnownSession | None:
        """What is known of a session now: of a visitor's, or of its user's, and who that is. None when that is nothing,
        or no product is named and several have a session of this id.

        Raises:
            RuntimeError: the view has no `session_topic`.
        """
        session_id, product_id = identifier(session_id), identifier(product_id) or None
        return session_as_of(self._required_visitors(), self._table, session_id, product_id, self._clock())

    def get_session_by_conversation(self, conversation_id: str, product_id: str | None = None) -> KnownSession | None:
        """As `get_session`, of the session that is in a conversation. None when none is, or several may be."""
        conversation_id, product_id = identifier(conversation_id), identifier(product_id) or None
        visitors = self._required_visitors()
        return session_in_conversation(visitors, self._table, conversation_id, product_id, self._clock())

    def enrich_session(self, session_id: str, query: str, product_id: str | None = None) -> str:
        """What happened in a session and then the query, as a prompt; the bare query when nothing is known."""
        found = self.get_session(session_id, product_id)
        return enriched_query(query, "" if found is None else found.context)

    def _required_visitors(self) -> VisitorTable:
        if self._visitors is None:
            raise RuntimeError("the view does not read sessions: give it a session_topic")
        return self._visitors

    def holds(self, user_id: str) -> bool:
        """Whether the user's partition is in this view's share. While the topic is not found, a share holds nobody."""
        if self._share is None:
            return True
        count = self._count()
        return count > 0 and murmur2(identifier(user_id).encode(), count) in self._share

    def _require_share(self, user_id: str) -> None:
        if not self.holds(user_id):
            raise NotInShare("the user's partition is not in this view's share")
