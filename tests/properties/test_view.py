"""The view is the fold of the topic, however it is read; and what the worker keeps apart, no read brings together."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from itertools import product as product_of

from hypothesis import given
from hypothesis import strategies as st

from tests.payloads import NOW
from tests.user_records import record, session
from worker.settings import Settings
from worker.testing import TopologyDriver
from worker.view.table import ContextTable
from worker.view.visitor_table import VisitorTable, session_as_of

USERS = ("u1", "u2", "u3")
PRODUCTS = ("acme", "beta", "")
PARTITIONS = 3

# --- the fold ---


@dataclass(frozen=True)
class Written:
    """One record on a partition: a version, or none for a null record, or one that cannot be read."""

    partition: int
    user: str
    version: int | None
    readable: bool = True

    @property
    def value(self) -> bytes | None:
        if self.version is None:
            return None
        return record(self.user, self.version, session(conversation=f"c-{self.user}")) if self.readable else b"{"


written = st.builds(
    lambda user, version, readable: Written(USERS.index(user), user, version, readable),
    st.sampled_from(USERS),
    st.one_of(st.none(), st.integers(0, 9)),
    st.booleans() | st.just(True),
)


def folded(log: list[Written]) -> dict[str, int]:
    """What the contract says of the log: the newest of each user, written out."""
    newest: dict[str, int] = {}
    for one in log:
        if one.version is None or not one.readable:
            newest.pop(one.user, None)
        else:
            newest[one.user] = max(one.version, newest.get(one.user, 0))
    return newest


def held(table: ContextTable) -> dict[str, int]:
    found = {user: table.get(user, None, NOW) for user in USERS}
    return {user: context.version for user, context in found.items() if context is not None}


def apply(table: ContextTable, log: list[Written]) -> None:
    for one in log:
        table.apply(one.partition, one.user.encode(), one.value)


@given(st.lists(written, max_size=40))
def test_the_view_is_the_fold_of_the_topic(log: list[Written]) -> None:
    table = ContextTable()
    apply(table, log)
    newest = folded(log)
    assert held(table) == newest
    in_conversation = {user: table.by_conversation(f"c-{user}", None, NOW) for user in USERS}
    assert {user for user, context in in_conversation.items() if context is not None} == set(newest)
    assert len(table) == len(newest)
    assert table.value_bytes == sum(len(entry.value) for entry in table._entries.values())
    assert set(table._conversations) == {f"c-{user}" for user in newest}


@given(st.lists(written, max_size=30), st.lists(written, max_size=30), st.sets(st.integers(0, PARTITIONS - 1)))
def test_a_partition_that_is_read_again_is_as_if_it_had_been_read_once(
    before: list[Written], now: list[Written], again: set[int]
) -> None:
    """`now` is what the partitions hold by then: compacted, or of a topic that was made anew."""
    table = ContextTable()
    apply(table, before)
    for partition in again:
        table.begin_anew(partition)
    apply(table, [one for one in now if one.partition in again])
    for partition in again:
        table.finish(partition)
    kept = [one for one in before if one.partition not in again]
    assert held(table) == folded(kept) | folded([one for one in now if one.partition in again])


# --- isolation ---


@dataclass(frozen=True)
class Act:
    """A payload whose one action tells whose it is, in a product, a session and a conversation that others share. It
    may come late, and somebody may be erased after it."""

    user: str | None
    product: str
    session: str
    conversation: str | None
    after_s: float
    late_s: float = 0.0
    erased: str | None = None


acts = st.builds(
    Act,
    st.sampled_from([*USERS, None]),
    st.sampled_from(PRODUCTS),
    st.sampled_from(["s1", "s2"]),
    st.sampled_from(["c1", "c2", None]),
    st.sampled_from([0.0, 1.0, 60.0]),
    st.sampled_from([0.0, 0.0, 0.0, 100.0]),
    st.sampled_from([None] * 12 + [*USERS]),
)


@given(st.lists(acts, max_size=25))
def test_nothing_of_another_user_or_product_is_in_any_answer(trace: list[Act]) -> None:
    """Users share sessions, products share session ids, conversations are shared by all."""
    driver = driven(trace)
    table = ContextTable()
    for out in driver.output:
        table.apply(out.partition, out.key, out.value)
    now = driver.clock.wall()
    for user in USERS:
        for product in (None, *PRODUCTS):
            context = table.get(user, product or None, now)
            if context is not None:
                assert_told_of(trace, context.get_user_activity(), user, product)
    for conversation in ("c1", "c2"):
        found = table.by_conversation(conversation, None, now)
        if found is not None:
            others = [user for user in USERS if user != found.user_id]
            live = [table.get(user, None, now) for user in others]
            in_it = [one for context in live if context for one in context.sessions]
            assert conversation not in {one.conversation_id for one in in_it}


@given(st.lists(acts, min_size=1, max_size=25), st.lists(st.booleans(), min_size=60, max_size=60))
def test_a_session_has_one_owner_in_whatever_order_the_two_topics_come(trace: list[Act], merge: list[bool]) -> None:
    driver = driven(trace, session_output_topic="sessions")
    users, visitors = ContextTable(finds_sessions=True), VisitorTable()
    logs = {False: (users, deque(driver.output)), True: (visitors, deque(driver.session_output))}
    now = driver.clock.wall()
    for choice in (*merge, *[False] * len(driver.output), *[True] * len(driver.session_output)):
        table, log = logs[choice]
        if log:
            out = log.popleft()
            table.apply(out.partition, out.key, out.value)
        for session_id, product in product_of(("s1", "s2"), (None, "acme", "beta")):
            found = session_as_of(visitors, users, session_id, product, now)
            if found is None:
                continue
            assert found.session_id == session_id
            assert product is None or found.product_id == product
            assert_told_of(trace, found.context, found.user_id, found.product_id or "", session_id)
            for user in USERS:
                context = users.get(user, None, now) if user != found.user_id else None
                sessions = () if context is None else context.sessions
                rivals = [s for s in sessions if (s.session_id, s.product_id) == (session_id, found.product_id)]
                assert all(rival.last_seen_at < found.last_seen_at for rival in rivals)
    for (product, session_id), owner in owners(trace).items():
        of_product = {one.product for one in trace if one.session == session_id} == {product}
        found = session_as_of(visitors, users, session_id, product or None, now) if product or of_product else None
        assert found is None or found.user_id == owner


def owners(trace: list[Act]) -> dict[tuple[str, str], str | None]:
    """Of each session, who was named in it last."""
    found: dict[tuple[str, str], str | None] = {}
    for act in trace:
        key = act.product, act.session
        found[key] = act.user or found.get(key)
    return found


def driven(trace: list[Act], **settings: str) -> TopologyDriver:
    driver = TopologyDriver(Settings(**settings))
    for number, act in enumerate(trace):
        driver.advance(act.after_s)
        owner = act.user or "nobody"
        text = f"[{number}|{owner}|{act.product}|{act.session}]"
        driver.pipe(
            {
                "product_id": act.product,
                "session_id": act.session,
                "user_id": act.user,
                "conversation_id": act.conversation,
                "forwarded_at": driver.clock.wall() - act.late_s,
                "actions": [{"type": "click", "description": text, "canonical_url": "/"}],
            }
        )
        driver.process()
        if act.erased is not None:
            driver.reset_user(act.erased)
            driver.process()
    return driver


def assert_told_of(
    trace: list[Act], text: str, user: str | None, product: str | None, session_id: str | None = None
) -> None:
    """Every action that a text tells of is this user's (None: nobody's), and of this product and session if given."""
    for number, owner, of_product, of_session in re.findall(r"\[(\d+)\|([^|]*)\|([^|]*)\|([^|\]]*)\]", text):
        assert owner in {user, "nobody"}
        assert owner == user or user is None or user in neighbours(trace, int(number))
        assert not product or of_product == product
        assert session_id is None or of_session == session_id


def neighbours(trace: list[Act], number: int) -> set[str]:
    """Whose an act without a user may be: of those who are named in its session, the last before it or the next."""
    act = trace[number]
    named = [
        (at, one.user)
        for at, one in enumerate(trace)
        if (one.product, one.session) == (act.product, act.session) and one.user is not None
    ]
    before = [user for at, user in named if at < number][-1:]
    after = [user for at, user in named if at > number][:1]
    return {*before, *after}
