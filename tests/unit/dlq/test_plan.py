"""What a retry would do, and what would become of it."""

from __future__ import annotations

import random
from dataclasses import replace

import orjson
import pytest

from tests.unit.dlq.letters import NOW, letter
from worker.dlq.ledger import Mark
from worker.dlq.letter import Letter
from worker.dlq.plan import Fate, Judge, Kept, Plan, Prospect, plan_retry
from worker.dlq.selection import Selection
from worker.errors import ExitCode, Fatal

JUDGE = Judge("actions", newest=NOW, now=NOW, retention_s=600.0, max_clock_skew_s=60.0, append_time=False)
ALL = Selection()
READABLE = b'{"session_id": "s"}'


def plan_of(*letters: Letter | None, selection: Selection = ALL, again: bool = False, **marks: Mark) -> Plan:
    """`p0`, `p1`: the marks of the partitions."""
    return plan_retry(letters, selection, {int(name[1:]): mark for name, mark in marks.items()}, JUDGE, again=again)


def test_everything_that_can_be_sent_is_sent_in_order_and_counted_by_reason() -> None:
    plan = plan_of(
        letter(3), letter(4, reason="not_json"), None, letter(8), letter(1, partition=1), letter(2, partition=1)
    )
    assert plan.offsets == {0: [3, 4, 8], 1: [1, 2]}
    assert {reason: prospect.letters for reason, prospect in plan.prospects.items()} == {"wrong_type": 4, "not_json": 1}
    assert (plan.letters, plan.to_send, plan.kept) == (5, 5, {})


def test_the_selection_decides_and_of_it_the_newest() -> None:
    old, middle, new = letter(1, age_s=90), letter(2, age_s=60), letter(0, partition=1, age_s=30)
    other = letter(3, reason="not_json", age_s=1)
    wrong_type = frozenset({"wrong_type"})
    assert plan_of(old, middle, other, new, selection=Selection(wrong_type)).offsets == {0: [1, 2], 1: [0]}
    assert plan_of(old, middle, other, new, selection=Selection(wrong_type, limit=2)).offsets == {0: [2], 1: [0]}
    assert plan_of(old, middle, other, new, selection=Selection(since=NOW - 60)).offsets == {0: [2, 3], 1: [0]}
    assert plan_of(old, selection=Selection(frozenset({"unheard_of"}))).offsets == {}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (letter(1, source_topic="others"), Kept.OTHER_TOPIC),
        (letter(1, source_partition=-1), Kept.NO_SOURCE),
        (letter(1, value=None, value_omitted_bytes=9_000_000), Kept.NO_VALUE),
        (letter(1, source_offset=100, source_timestamp_ms=letter(0).why.source_timestamp_ms), Kept.REPEATED),
    ],
)
def test_what_cannot_be_sent_is_told_and_stands_in_no_ones_way(bad: Letter, why: Kept) -> None:
    plan = plan_of(letter(0), bad, letter(2))
    assert plan.offsets == {0: [0, 2]}
    assert plan.kept == {why: 1}
    for offset in (0, 2):
        plan.ledgers[0].note_sent(offset)
    assert plan.ledgers[0].mark() == Mark(3)
    assert plan_of(bad, letter(0), selection=Selection(frozenset({"not_json"}))).kept == {}


def test_a_null_value_that_was_not_left_out_is_sent() -> None:
    assert plan_of(letter(0, value=None)).offsets == {0: [0]}


def test_the_same_offset_of_a_topic_made_anew_is_another_record() -> None:
    assert plan_of(letter(0, source_offset=5), letter(1, source_offset=5, age_s=-1)).offsets == {0: [0, 1]}


def test_what_was_sent_before_is_kept_back_unless_it_is_asked_for() -> None:
    letters = [letter(offset) for offset in range(4)]
    plan = plan_of(*letters, p0=Mark(1, ((2, 3),)))
    assert plan.offsets == {0: [1, 3]}
    assert plan.kept == {Kept.SENT_BEFORE: 2}
    assert plan_of(*letters, again=True, p0=Mark(1, ((2, 3),))).offsets == {0: [0, 1, 2, 3]}


def test_the_repeat_of_a_letter_that_was_sent_before_is_not_sent() -> None:
    repeat = letter(3, source_offset=100, source_timestamp_ms=letter(0).why.source_timestamp_ms)
    plan = plan_of(letter(0), letter(1), repeat, p0=Mark(1))
    assert plan.offsets == {0: [1]}
    assert plan.kept == {Kept.SENT_BEFORE: 1, Kept.REPEATED: 1}


def payload(forwarded_at: float | None) -> bytes:
    return orjson.dumps({"session_id": "s", "forwarded_at": forwarded_at})


@pytest.mark.parametrize(
    ("value", "age_s", "late", "unreadable"),
    [
        (payload(NOW - 599), 599, False, False),
        (payload(NOW - 601), 601, True, False),
        (payload(NOW - 601), 0, True, False),  # its event time counts
        (payload(None), 601, True, False),  # else its timestamp
        (payload(None), 0, False, False),
        (payload(NOW + 1e6), 601, True, False),  # not to be believed: its timestamp
        (b"{", 601, True, True),
        (b"{", 0, False, True),
        (b'{"type": "summary"}', 601, True, False),
        (None, 601, True, False),
    ],
)
def test_a_letter_is_judged_as_the_worker_would(
    value: bytes | None, age_s: float, late: bool, unreadable: bool
) -> None:
    assert JUDGE.fate(letter(value=value, age_s=age_s)) == Fate(late, unreadable)


def test_an_input_that_gives_its_own_timestamps_makes_a_payload_without_a_time_new() -> None:
    judge = replace(JUDGE, append_time=True)
    assert not judge.fate(letter(value=payload(None), age_s=9999)).late
    assert judge.fate(letter(value=payload(NOW - 9999), age_s=9999)).late


@pytest.mark.parametrize(("newest", "late"), [(None, False), (NOW - 500, False), (NOW - 399, True), (NOW + 1e9, True)])
def test_late_is_late_behind_the_newest_record_and_that_is_no_later_than_now(newest: float | None, late: bool) -> None:
    judge = replace(JUDGE, newest=newest)
    assert judge.fate(letter(value=payload(NOW - 1000), age_s=1000)).late is late
    assert not judge.fate(letter(value=payload(NOW), age_s=0)).late


def test_the_prospects_are_counted_by_reason() -> None:
    letters = [letter(0, value=b"{", age_s=601), letter(1, value=READABLE), letter(2, reason="not_json", value=b"{")]
    plan = plan_of(*letters)
    assert plan.prospects == {"wrong_type": Prospect(2, 1, 1), "not_json": Prospect(1, 0, 1)}


def test_letters_that_lie_too_scattered_are_refused_before_any_is_sent() -> None:
    dice = random.Random(1)
    reasons = [dice.choice(["a", "b"]) for _ in range(4000)]
    letters = [letter(offset, reason=reason) for offset, reason in enumerate(reasons)]
    with pytest.raises(Fatal, match="too scattered") as refused:
        plan_of(*letters, selection=Selection(frozenset("a"))).require_marks_that_fit()
    assert refused.value.exit_code == ExitCode.USAGE
    plan_of(*letters).require_marks_that_fit()
    plan_of(*letters[:900], selection=Selection(frozenset("a"))).require_marks_that_fit()
