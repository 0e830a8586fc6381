"""What is remembered of one session."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, permutations

import pytest

from worker.context.session_memory import MANY, NEVER, NOTHING, Rendered, Seen, SessionMemory, activity_text, source_of


def seen(at: float, source: int, *lines: str, conversation: str = "") -> Seen[str]:
    return Seen("", "", at, source, "\n".join(lines), len(lines), conversation, "")


def remember(*payloads: tuple[float, int, str], max_actions: int | None = None) -> SessionMemory[str]:
    """Each payload is (event time, source, its lines as one letter each)."""
    memory: SessionMemory[str] = SessionMemory()
    for event_time, source, letters in payloads:
        memory.add(seen(event_time, source, *letters), max_actions)
    return memory


def all_lines(memory: SessionMemory[str]) -> str:
    return "".join(memory.lines_since(NEVER, None))


def test_a_source_sorts_by_partition_then_offset() -> None:
    places = [(0, 0), (0, 1), (0, 2**48 - 1), (1, 0), (7, 3)]
    assert [source_of(*place) for place in places] == sorted(source_of(*place) for place in places)


def test_an_empty_memory_was_never_seen() -> None:
    memory: SessionMemory[str] = SessionMemory()
    assert memory.is_empty
    assert memory.last_seen_at == NEVER
    assert memory.conversation == NOTHING
    assert memory.lines_since(NEVER, None) == []
    memory.forget_before(5)
    assert memory.is_empty


def test_actions_are_in_the_order_of_event_time_then_source_however_they_come_in() -> None:
    payloads = [(1.0, 9, "ab"), (2.0, 1, "c"), (2.0, 2, "d"), (2.0, 5, "e"), (3.0, 0, "f")]
    for order in permutations(payloads):
        assert all_lines(remember(*order)) == "abcdef"


def test_a_repeat_changes_nothing() -> None:
    memory = remember((1.0, 1, "a"), (2.0, 2, "b"))
    assert memory.add(seen(1.0, 1, "a")) is False
    assert all_lines(memory) == "ab"


def test_a_payload_without_actions_counts_for_when_the_session_was_seen() -> None:
    memory = remember((1.0, 1, "a"), (5.0, 2, ""))
    assert (memory.last_seen_at, all_lines(memory)) == (5.0, "a")
    assert remember((5.0, 2, "")).is_empty


def test_a_late_payload_does_not_move_last_seen_at_back() -> None:
    assert remember((5.0, 1, "a"), (1.0, 2, "b")).last_seen_at == 5.0


def test_a_payload_goes_as_soon_as_as_many_newer_actions_are_here() -> None:
    payloads = [(1.0, 1, "ab"), (2.0, 2, "cd"), (3.0, 3, "e")]
    for order in permutations(payloads):
        assert all_lines(remember(*order, max_actions=3)) == "cde"
        assert "".join(remember(*order, max_actions=2).lines_since(NEVER, 2)) == "de"


def test_a_payload_larger_than_the_bound_is_read_up_to_the_bound() -> None:
    memory = remember((1.0, 1, "a"), (2.0, 2, "bcdefg"), max_actions=3)
    assert "".join(memory.lines_since(NEVER, 3)) == "efg"


def test_a_payload_goes_as_soon_as_as_much_newer_text_is_here() -> None:
    payloads = [(1.0, 1, ("aa",)), (2.0, 2, ("bb", "b")), (3.0, 3, ("ccc",))]
    for order in permutations(payloads):
        memory: SessionMemory[str] = SessionMemory()
        for event_time, source, lines in order:
            memory.add(seen(event_time, source, *lines), max_size=7)
        assert memory.lines_since(NEVER, None) == ["bb", "b", "ccc"]


MOST = 100 * MANY
LENGTHS = [
    *((100,), (99, 1), (0, 99, 3000), (101, 40)),
    (*[1] * 599, *[100] * 599),
    tuple([MOST // max(MANY, number) for number in range(1, 3001)]),  # each is small beside those that are here
]


@pytest.mark.parametrize("max_actions", [None, 300, 10_000])
@pytest.mark.parametrize("lengths", LENGTHS, ids=len)
@pytest.mark.parametrize("kept", [None, 205, 410])
def test_no_more_than_twice_the_newest_text_is_held(
    lengths: tuple[int, ...], max_actions: int | None, kept: int | None
) -> None:
    memory: SessionMemory[str] = SessionMemory()
    for number, length in zip(range(3000), cycle(lengths), strict=False):
        memory.add(seen(number, number, "x" * length), max_actions, MOST)
        if kept is not None and number % 180 == 179:
            memory.forget_before(number - kept)  # shrinks, and grows again
        assert sum(len(payload.text) for payload in memory._payloads) <= 2 * MOST + max(lengths)


def test_the_newest_payload_stays_however_long_it_is() -> None:
    memory: SessionMemory[str] = SessionMemory()
    memory.add(seen(1.0, 1, "a"), max_size=3)
    memory.add(seen(2.0, 2, "b" * 100), max_size=3)
    assert memory.lines_since(NEVER, None) == ["b" * 100]


def test_lines_since_a_time_include_that_time() -> None:
    memory = remember((1.0, 1, "a"), (2.0, 2, "b"), (3.0, 3, "c"))
    assert memory.lines_since(2.0, None) == ["b", "c"]
    assert memory.lines_since(1.0, None) == ["a", "b", "c"]
    assert memory.lines_since(2.5, 5) == ["c"]
    assert memory.lines_since(9.0, None) == []


def test_forgetting_keeps_when_it_was_seen_and_the_conversation() -> None:
    memory = remember((1.0, 1, "a"), (2.0, 2, "b"))
    memory.add(seen(1.0, 3, conversation="c_1"))
    memory.forget_before(1.0)
    assert all_lines(memory) == "ab"
    memory.forget_before(2.0)
    assert all_lines(memory) == "b"
    memory.forget_before(9.0)
    assert memory.is_empty
    assert (memory.last_seen_at, memory.conversation.value) == (2.0, "c_1")


def test_the_newest_conversation_that_is_not_empty_counts() -> None:
    for order in permutations([(1.0, 1, "c_1"), (3.0, 1, "c_3"), (3.0, 0, "c_2"), (9.0, 9, "")]):
        memory: SessionMemory[str] = SessionMemory()
        for event_time, source, conversation in order:
            memory.add(seen(event_time, source, conversation=conversation))
        assert memory.conversation.value == "c_3"


def test_activity_is_a_heading_and_numbered_lines() -> None:
    assert activity_text(["a", "b"]) == "Recent activity:\n1. a\n2. b"


def test_there_is_no_heading_without_actions() -> None:
    assert activity_text([]) == ""


def test_a_kept_text_goes_when_the_payloads_change() -> None:
    memory = remember((1.0, 1, "a"), (2.0, 2, "b"))
    kept = Rendered(0.0, 1.0, 2, b"ab")

    def keeps_it(change: Callable[[], object]) -> bool:
        memory.rendered = kept
        change()
        return memory.rendered is kept

    assert keeps_it(lambda: memory.add(seen(2.0, 2, "b"))), "a repeat"
    assert keeps_it(lambda: memory.add(seen(9.0, 3))), "no actions"
    assert keeps_it(lambda: memory.forget_before(1.0)), "nothing is older"
    assert not keeps_it(lambda: memory.forget_before(1.5))
    assert not keeps_it(lambda: memory.add(seen(3.0, 4, "c")))


@pytest.mark.parametrize(("since", "oldest"), [(NEVER, 1.0), (1.0, 1.0), (1.5, 2.0), (2.0, 2.0), (2.5, NEVER)])
def test_the_oldest_payload_since_a_time(since: float, oldest: float) -> None:
    assert remember((1.0, 1, "a"), (2.0, 2, "b")).oldest_since(since) == oldest
