"""The public stores against a plain list of everything that ever came in."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas import ActionsPayload
from schemas.user_context import joined_activity
from tests.payloads import NOW, ManualClock, activity, payload
from worker import ContextStore, SessionRef, UserSessionIndex
from worker.context.session_memory import NEVER, Seen
from worker.context.user_memory import UserMemory

LOOKBACK = 300.0
SESSIONS = ["ps_1", "ps_2"]
PRODUCTS = ["", "acme", "other"]
USERS = ["alice", "bob", "carol"]


@dataclass(frozen=True)
class Arrival:
    """A payload `age` seconds old comes in `after` seconds after the one before."""

    after: int
    age: int
    session: str
    product: str
    user: str
    email: str | None


ages = st.one_of(st.integers(0, 5), st.integers(0, 700))
arrivals = st.builds(
    Arrival,
    after=st.sampled_from([0, 0, 1, 60, 299, 301]),
    age=ages,
    session=st.sampled_from(SESSIONS),
    product=st.sampled_from(PRODUCTS),
    user=st.sampled_from(USERS),
    email=st.sampled_from([None, "old@example.com", "new@example.com"]),
)


@dataclass
class World:
    """Our stores, and beside them the list."""

    clock: ManualClock = field(default_factory=ManualClock)
    numbers: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.store = ContextStore(lookback_seconds=LOOKBACK, clock=self.clock)
        self.index = UserSessionIndex(self.store, LOOKBACK, clock=self.clock)
        self.all: list[tuple[ActionsPayload, str]] = []

    def play(self, history: list[Arrival]) -> None:
        for arrival in history:
            self.clock.advance(arrival.after)
            text = f"action {next(self.numbers)} of {arrival.user}"
            made = payload(
                text,
                session=arrival.session,
                product=arrival.product,
                user=arrival.user,
                email=arrival.email,
                at=self.clock.now - arrival.age,
            )
            self.store.add(made)
            self.index.add(made)
            self.all.append((made, text))

    def recent(self) -> list[tuple[ActionsPayload, str]]:
        """What lies within the lookback, by event time and then arrival."""
        recent = [(made, text) for made, text in self.all if made.forwarded_at >= self.clock.now - LOOKBACK]
        return sorted(recent, key=lambda item: item[0].forwarded_at)

    def context(self, session: str, product: str) -> str:
        texts = [text for made, text in self.recent() if (made.session_id, made.product_id) == (session, product)]
        return activity(*texts) if texts else ""

    def meant(self, session: str) -> str | None:
        having = {made.product_id for made, _ in self.recent() if made.session_id == session}
        if "" in having:
            return ""
        return having.pop() if len(having) == 1 else None

    def refs(self, user: str) -> list[SessionRef]:
        last_seen = {
            (made.session_id or "", made.product_id): made.forwarded_at
            for made, _ in self.recent()
            if made.user_id == user
        }
        refs = [SessionRef(session, product or None, at) for (session, product), at in last_seen.items()]
        return sorted(refs, key=lambda ref: (-ref.last_seen_at, ref.session_id, ref.product_id or ""))

    def email(self, user: str) -> str | None:
        """The newest known email; known are those that were recent when they came, of a user who never lapsed since."""
        emails = [made.email for made, _ in self.recent() if made.user_id == user and made.email]
        return emails[-1] if emails else None


@given(st.lists(arrivals, max_size=40))
def test_the_store_says_what_the_list_says(history: list[Arrival]) -> None:
    world = World()
    world.play(history)
    for session in SESSIONS:
        for product in PRODUCTS[1:]:
            assert world.store.get(session, product_id=product) == world.context(session, product)
        product_meant = world.meant(session)
        expected = "" if product_meant is None else world.context(session, product_meant)
        assert world.store.get(session) == expected
    assert world.store.active_sessions == sorted({made.session_id or "" for made, _ in world.recent()})


@given(st.lists(arrivals, max_size=40))
def test_the_index_says_what_the_list_says(history: list[Arrival]) -> None:
    world = World()
    world.play(history)
    for user in USERS:
        refs = world.refs(user)
        assert world.index.get_recent_sessions(user) == refs
        if world.email(user) is not None:
            assert world.index.get_email(user) == world.email(user)
        if not refs:
            assert world.index.get_email(user) is None
        assert world.index.get_user_activity(user) == joined_activity(
            (ref.session_id, ref.product_id, world.store.get(ref.session_id, product_id=ref.product_id)) for ref in refs
        )


@given(st.lists(arrivals, max_size=60), st.integers(0, 400))
def test_nothing_is_held_that_no_payload_of_the_last_lookbacks_rests_on(history: list[Arrival], later: int) -> None:
    world = World()
    world.play(history)
    world.clock.advance(later)
    world.play([Arrival(0, 0, "ps_last", "acme", "last", None)])
    written_since = world.clock.now - LOOKBACK
    came_in = 0.0
    sessions, users = {("acme", "ps_last")}, {"last"}
    for arrival, (made, _) in zip(history, world.all, strict=False):
        came_in += arrival.after
        if NOW + came_in >= written_since:
            sessions.add((made.product_id, made.session_id or ""))
            users.add(made.user_id or "")
    assert set(world.store._table._sessions) <= sessions
    assert set(world.index._users) <= users


@given(st.lists(arrivals, max_size=30))
def test_users_with_sessions_of_their_own_never_see_each_others_actions(history: list[Arrival]) -> None:
    world = World()
    world.play([Arrival(a.after, a.age, f"{a.user}-{a.session}", a.product, a.user, a.email) for a in history])
    for user in USERS:
        seen = world.index.get_user_activity(user)
        assert not any(f"of {other}" in seen for other in USERS if other != user)


def seen_of(lines: list[str], **fields: Any) -> Seen[str]:
    return Seen(text="\n".join(lines), actions=len(lines), **fields)


payloads_of_a_user = st.lists(
    st.builds(
        seen_of,
        lines=st.lists(st.text("ab", min_size=1, max_size=2), max_size=4),
        product_id=st.sampled_from(PRODUCTS),
        session_id=st.sampled_from(SESSIONS),
        event_time=st.integers(0, 9).map(float),
        source=st.integers(0, 10_000),
        conversation_id=st.sampled_from(["", "c_1", "c_2"]),
        email=st.sampled_from(["", "a@example.com", "b@example.com"]),
    ),
    unique_by=lambda seen: seen.source,
    max_size=25,
)


def told(memory: UserMemory[str], since: float, max_actions: int | None) -> object:
    sessions = [
        (key, session.last_seen_at, session.conversation, session.lines_since(since, max_actions))
        for key, session in memory.recent(since, 20)
    ]
    return memory.newest, memory.email, sessions


@given(payloads_of_a_user, st.data(), st.integers(1, 8) | st.none())
def test_what_a_memory_says_depends_on_which_payloads_came_not_on_their_order(
    payloads: list[Seen[str]], data: st.DataObject, max_actions: int | None
) -> None:
    again = data.draw(st.lists(st.sampled_from(payloads), max_size=5)) if payloads else []
    other_order = data.draw(st.permutations(payloads + again))
    one: UserMemory[str] = UserMemory()
    other: UserMemory[str] = UserMemory()
    for seen in payloads:
        one.add(seen, max_actions)
    for seen in other_order:
        other.add(seen, max_actions)
    for since in (NEVER, 0.0, 4.0, 9.0):
        assert told(one, since, max_actions) == told(other, since, max_actions)


@given(payloads_of_a_user, st.integers(1, 8))
def test_a_bounded_memory_lists_the_newest_actions_of_all_that_came(
    payloads: list[Seen[str]], max_actions: int
) -> None:
    memory: UserMemory[str] = UserMemory()
    for seen in payloads:
        memory.add(seen, max_actions)
    for key, session in memory.sessions.items():
        in_order = sorted(
            (seen for seen in payloads if (seen.product_id, seen.session_id) == key),
            key=lambda seen: (seen.event_time, seen.source),
        )
        lines = [line for seen in in_order for line in seen.text.splitlines()]
        assert session.lines_since(NEVER, max_actions) == lines[-max_actions:]
        longest = max((seen.actions for seen in in_order), default=0)
        assert sum(payload.actions for payload in session._payloads) < max_actions + max(longest, 1)
