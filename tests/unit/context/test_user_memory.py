"""What is remembered of one user."""

from __future__ import annotations

from itertools import permutations

from worker.context.session_memory import NEVER, NOTHING, Rendered, Seen
from worker.context.user_memory import SessionKey, UserMemory

PS_1 = ("acme", "ps_1")
PS_2 = ("acme", "ps_2")


def seen(
    session: SessionKey, at: float, source: int, lines: tuple[str, ...] = (), conversation_id: str = "", email: str = ""
) -> Seen[str]:
    return Seen(*session, at, source, "\n".join(lines), len(lines), conversation_id, email)


def remember(*payloads: Seen[str]) -> UserMemory[str]:
    memory: UserMemory[str] = UserMemory()
    for payload in payloads:
        memory.add(payload)
    return memory


def keys(memory: UserMemory[str], since: float = NEVER, max_sessions: int = 20) -> list[SessionKey]:
    return [key for key, _ in memory.recent(since, max_sessions)]


def test_sessions_are_newest_first_ties_by_session_then_product() -> None:
    payloads = [
        seen(("b", "ps_1"), 5.0, 1),
        seen(("a", "ps_1"), 5.0, 2),
        seen(("a", "ps_0"), 5.0, 3),
        seen(("z", "ps_9"), 7.0, 4),
        seen(("z", "ps_8"), 1.0, 5),
    ]
    for order in permutations(payloads):
        assert keys(remember(*order)) == [("z", "ps_9"), ("a", "ps_0"), ("a", "ps_1"), ("b", "ps_1"), ("z", "ps_8")]


def test_only_recent_sessions_are_listed_and_no_more_than_asked_for() -> None:
    memory = remember(seen(PS_1, 1.0, 1), seen(PS_2, 2.0, 2))
    assert keys(memory, since=2.0) == [PS_2]
    assert keys(memory, since=1.0) == [PS_2, PS_1]
    assert keys(memory, max_sessions=1) == [PS_2]
    assert keys(memory, since=3.0) == []


def test_the_newest_event_is_that_of_all_sessions() -> None:
    assert remember().newest == NEVER
    assert remember(seen(PS_1, 5.0, 1), seen(PS_2, 2.0, 2)).newest == 5.0


def test_the_newest_email_counts_in_any_order() -> None:
    payloads = [
        seen(PS_1, 1.0, 1, email="old@example.com"),
        seen(PS_2, 2.0, 2, email="new@example.com"),
        seen(PS_2, 3.0, 3),
    ]
    for order in permutations(payloads):
        memory = remember(*order)
        assert memory.email_since(2.0) == "new@example.com"
        assert memory.email_since(2.5) == ""
    assert remember().email_since(NEVER) == ""


def test_a_repeat_changes_nothing() -> None:
    once = seen(PS_1, 1.0, 1, ("a",), "c_1", "a@example.com")
    memory = remember(once, once, seen(PS_1, 9.0, 1, ("a",), "c_2", "b@example.com"))
    assert memory.newest == 1.0
    assert memory.email.value == "a@example.com"
    assert memory.sessions[PS_1].conversation.value == "c_1"
    assert memory.sessions[PS_1].lines_since(NEVER, None) == ["a"]


def test_beyond_the_bound_the_sessions_seen_least_recently_go() -> None:
    memory = remember(*[seen(("", f"ps_{n}"), float(n), n) for n in range(5)])
    assert memory.bound_sessions(5) == 0
    assert memory.bound_sessions(2) == 3
    assert keys(memory) == [("", "ps_4"), ("", "ps_3")]


def test_forgetting_drops_sessions_and_the_older_payloads_of_the_others() -> None:
    memory = remember(seen(PS_1, 1.0, 1, ("a",)), seen(PS_2, 1.0, 2, ("b",)), seen(PS_2, 3.0, 3, ("c",)))
    memory.forget_before(2.0)
    assert keys(memory) == [PS_2]
    assert memory.sessions[PS_2].lines_since(NEVER, None) == ["c"]
    assert memory.newest == 3.0
    memory.forget_before(4.0)
    assert memory.sessions == {}
    assert memory.newest == NEVER


def test_clearing_forgets_everything() -> None:
    memory = remember(seen(PS_1, 1.0, 1, ("a",), "c_1", "a@example.com"))
    memory.clear()
    assert (memory.sessions, memory.email, memory.newest) == ({}, NOTHING, NEVER)


def test_texts_are_kept_with_their_sessions_and_no_others() -> None:
    memory = remember(seen(PS_1, 1.0, 1, ("a",)), seen(PS_2, 1.0, 2, ("b",)))
    first, second = Rendered(0.0, 1.0, 1, b"a"), Rendered(0.0, 1.0, 1, b"b")
    for kept in ({PS_1: first}, {PS_2: second}, {}):
        memory.keep_rendered(kept)
        assert {key: one.rendered for key, one in memory.sessions.items() if one.rendered} == kept
