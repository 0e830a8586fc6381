"""Which dead letters were sent again, and the text that keeps it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.dlq.ledger import Ledger, Mark

flags = st.lists(st.booleans(), max_size=40)
gaps = st.lists(st.integers(1, 4), min_size=40, max_size=40)


def ledger_of(sent: list[bool], offsets: list[int]) -> Ledger:
    ledger = Ledger()
    for offset, flag in zip(offsets, sent, strict=False):
        ledger.add(offset, sent=flag)
    return ledger


def offsets_of(steps: list[int]) -> list[int]:
    return [sum(steps[: at + 1]) for at in range(len(steps))]


@given(flags, gaps)
def test_a_mark_says_of_every_letter_whether_it_was_sent(sent: list[bool], steps: list[int]) -> None:
    offsets = offsets_of(steps)
    mark = ledger_of(sent, offsets).mark()
    assert [offset in mark for offset in offsets[: len(sent)]] == sent
    assert not any(offset in mark for offset in offsets[len(sent) :])


@given(flags, gaps)
def test_what_is_committed_is_read_back(sent: list[bool], steps: list[int]) -> None:
    mark = ledger_of(sent, offsets_of(steps)).mark()
    assert Mark.read(mark.next_offset, mark.metadata()) == mark


@given(flags, flags, gaps)
def test_letters_that_are_sent_later_are_marked_too(first: list[bool], then: list[bool], steps: list[int]) -> None:
    offsets = offsets_of(steps)
    both = list(zip(first, then, strict=False))
    ledger = ledger_of([before for before, _ in both], offsets)
    for offset, (_, later) in zip(offsets, both, strict=False):
        if later:
            ledger.note_sent(offset)
    assert ledger.mark() == ledger_of([before or later for before, later in both], offsets).mark()


@given(flags, gaps, st.integers(0, 160))
def test_letters_that_expire_take_nothing_with_them(sent: list[bool], steps: list[int], log_start: int) -> None:
    """What is read the next time begins later; what was sent of it stays so, and the mark of it says the same."""
    offsets = offsets_of(steps)[: len(sent)]
    mark = ledger_of(sent, offsets).mark()
    left = [offset for offset in offsets if offset >= log_start]
    again = ledger_of([offset in mark for offset in left], left).mark()
    assert [offset in again for offset in left] == [offset in mark for offset in left]


def test_a_run_reaches_over_offsets_that_hold_no_letter() -> None:
    assert ledger_of([True, True, False, True, True], [3, 5, 9, 12, 15]).mark() == Mark(6, ((12, 16),))
    assert Mark(6, ((12, 16), (20, 21))).metadata() == "1:6,4,4,1"


def test_nothing_sent_is_nothing_marked() -> None:
    assert Ledger().mark() == Mark()
    assert ledger_of([False], [7]).mark() == Mark(7)
    assert Mark(7).metadata() == "1:"
    assert 0 not in Mark()


@pytest.mark.parametrize("metadata", [None, "", "1:", "2:1,2", "{}", "1:x", "1:1,-2", "1:1,,2", "by hand"])
def test_an_offset_that_was_committed_by_hand_counts_without_runs(metadata: str | None) -> None:
    assert Mark.read(7, metadata) == Mark(7)


def test_a_text_that_was_cut_off_lists_the_whole_runs() -> None:
    assert Mark.read(7, "1:1,2,3") == Mark(7, ((8, 10),))


def test_nothing_committed_is_nothing_sent() -> None:
    assert Mark.read(None, None) == Mark()
