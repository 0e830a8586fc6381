"""Each check finds what it is there for: on a run in which one thing is wrong."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.acceptance.records import Record
from tests.chaos import checks
from tests.chaos.commit_log import Commit
from tests.chaos.evidence import Disturbance, Evidence, Shutdown
from tests.chaos.forged import NOW, START, commit, dead_letter, evidence, published, reset, routed, told_of
from tests.chaos.witness import Ends, Reader


def only(wrong: list[str]) -> str:
    [line] = wrong
    return line


def with_routed(*more: Record) -> Evidence:
    right = evidence()
    return replace(right, repartition={0: [*right.repartition[0], *more]})


def with_published(*more: Record) -> Evidence:
    right = evidence()
    return replace(right, output={0: [*right.output[0], *more]})


def with_commits(*commits: Commit) -> Evidence:
    return replace(evidence(), commits=commits)


def test_nothing_is_wrong_with_a_right_run() -> None:
    assert checks.all_wrong(evidence()) == {}


# --- (1) and (2) ---


def test_a_reader_that_missed_something_is_found() -> None:
    right = evidence()
    wrong = replace(right, followed={**right.followed, "bruno": {**(right.followed["bruno"] or {}), "sessions": []}})
    told = only(checks.the_newest_record_is_the_oracles(wrong))
    assert "'bruno'" in told
    assert "one, held" in told, "what was expected"
    assert '"sessions": []' in told.replace("'", '"'), "what was seen"
    assert checks.the_newest_record_is_the_oracles(replace(right, followed={})) != []


def test_a_visitor_who_is_still_told_of_after_the_login_is_found() -> None:
    right = evidence()
    told_before = {**(right.expected.visitors["s4"] or {}), "session_id": "s2"}
    wrong = replace(right, sessions={0: [*right.sessions[0], told_of(9, "s2", told_before)]})
    assert "'s2'" in only(checks.sessions_have_the_oracles_records(wrong))
    assert len(checks.sessions_have_the_oracles_records(replace(right, sessions={0: []}))) == 3


def test_a_stale_record_that_came_last_is_found_by_a_fresh_reader_only() -> None:
    right = evidence()
    stale = {**(right.expected.users["amelie"] or {}), "updated_at": START}
    wrong = with_published(published(2, "amelie", 0, NOW + 9, stale))
    assert "'amelie'" in only(checks.a_fresh_reader_sees_the_same(wrong))
    assert checks.the_newest_record_is_the_oracles(wrong) == []


def test_a_record_of_nobody_is_found() -> None:
    wrong = with_published(published(2, "zoe", 0, NOW + 9, {"user_id": "zoe"}))
    assert "'zoe' was never named" in only(checks.a_fresh_reader_sees_the_same(wrong))


def test_what_was_erased_must_not_be_there() -> None:
    told = only(checks.a_fresh_reader_sees_the_same(with_routed(reset(4, "amelie", NOW + 5, START + 1))))
    assert "'amelie'" in told
    assert checks.the_newest_record_is_the_oracles(with_routed(reset(4, "amelie", NOW + 5, START + 9))) != []


# --- (3) ---


def test_an_input_offset_that_was_lost_is_found() -> None:
    right = evidence()
    wrong = replace(right, repartition={0: right.repartition[0][:3]})
    assert "input (0, 4): expected routed to {'bruno'}, seen {}" in only(
        checks.every_input_offset_is_accounted_for(wrong)
    )
    wrong = replace(right, dead_letters={})
    assert "input (0, 3): expected dead letter" in only(checks.every_input_offset_is_accounted_for(wrong))


def test_a_payload_that_went_to_somebody_else_is_found() -> None:
    told = only(checks.every_input_offset_is_accounted_for(with_routed(routed(4, 4, "amelie", NOW + 1))))
    assert told.startswith("input (0, 4): expected routed to {'bruno'}")
    told = only(checks.every_input_offset_is_accounted_for(with_routed(routed(4, 5, "amelie", NOW + 1))))
    assert told.startswith("input (0, 5): expected routed to nobody")


def test_a_dead_letter_of_a_sound_payload_is_found() -> None:
    right = evidence()
    wrong = replace(right, dead_letters={0: [*right.dead_letters[0], dead_letter(1, 2, NOW)]})
    assert "input (0, 2): expected dead letter None" in only(checks.every_input_offset_is_accounted_for(wrong))


def test_a_repeat_is_wrong_only_where_exactly_once_was_promised() -> None:
    twice = with_routed(routed(4, 4, "bruno", NOW + 1))
    twice = replace(twice, dead_letters={0: [dead_letter(0, 3, NOW), dead_letter(1, 3, NOW)]})
    assert checks.every_input_offset_is_accounted_for(twice) == []
    assert checks.every_input_offset_is_accounted_for(replace(twice, exactly_once=True)) == [
        "input (0, 4): expected routed once, seen 2 times",
        "input (0, 3): expected one dead letter, seen 2",
    ]


# --- (4) ---


def test_a_commit_before_its_records_were_out_is_found() -> None:
    early = with_commits(commit("input", 1, 0, NOW + 0.5), commit("hop", 4, 0, NOW + 3))
    told = only(checks.no_commit_passes_what_is_not_reflected(early))
    assert "commit 1 of input[0]" in told
    assert "input offset 0 is not on the next topic yet" in told
    early = with_commits(commit("input", 6, 0, NOW + 3), commit("hop", 3, 0, NOW + 1.5))
    assert "'amelie' is not published with offset 1 yet" in checks.no_commit_passes_what_is_not_reflected(early)[0]


def test_a_dead_letter_counts_as_reflected_once_it_is_written() -> None:
    early = with_commits(commit("input", 6, 0, NOW + 3), commit("hop", 4, 0, NOW + 3))
    early = replace(early, dead_letters={0: [dead_letter(0, 3, NOW + 4)]})
    assert "input offset 3 is not" in only(checks.no_commit_passes_what_is_not_reflected(early))


def test_a_restore_offset_beyond_a_held_payload_is_found() -> None:
    kept = with_commits(commit("input", 3, 1, NOW + 3), commit("hop", 4, 0, NOW + 3))
    assert checks.no_commit_passes_what_is_not_reflected(kept) == []
    forgotten = with_commits(commit("input", 3, 2, NOW + 3), commit("hop", 4, 0, NOW + 3))
    assert "forgets the held offset 1" in only(checks.no_commit_passes_what_is_not_reflected(forgotten))


def test_commits_without_our_metadata_and_no_commits_are_found() -> None:
    foreign = with_commits(Commit("input", 0, 0, "", 0), commit("hop", 4, 0, NOW + 3))
    assert "expected our metadata, seen ''" in only(checks.no_commit_passes_what_is_not_reflected(foreign))
    assert "expected some of both topics, seen 0" in only(checks.no_commit_passes_what_is_not_reflected(with_commits()))


def test_a_tombstone_reflects_what_was_there_before_it() -> None:
    right = evidence()
    _amelie, bruno = right.output[0]
    gone = replace(right, output={0: [published(0, "amelie", 0, NOW + 2, None), bruno]})
    assert checks.no_commit_passes_what_is_not_reflected(gone) == []
    too_old = replace(right, output={0: [published(0, "amelie", 0, NOW + 0.5, None), bruno]})
    assert checks.no_commit_passes_what_is_not_reflected(too_old) != []


# --- (5) ---

CRASH = Disturbance("kill", NOW + 5, NOW + 6, crashes=True)
AGAIN = json.loads(evidence().output[0][0].value or b"")


def test_a_version_that_falls_without_a_crash_is_found() -> None:
    fell = with_published(published(2, "amelie", 0, NOW + 9, AGAIN), published(3, "amelie", 1, NOW + 9, AGAIN))
    told = only(checks.versions_rise(fell))
    assert "'amelie': expected at least version 1" in told
    assert "seen 0" in told
    after_a_crash = replace(fell, disturbances=[CRASH])
    assert checks.versions_rise(after_a_crash) == []
    assert checks.versions_rise(replace(after_a_crash, exactly_once=True)) != []
    assert checks.versions_rise(replace(fell, disturbances=[CRASH._replace(crashes=False)])) != []


def test_a_version_that_stays_low_in_the_end_is_found() -> None:
    fell = replace(with_published(published(2, "amelie", 0, NOW + 9, AGAIN)), disturbances=[CRASH])
    assert only(checks.versions_rise(fell)) == "'amelie': expected version 1 in the end, seen 0"
    cleared = with_published(published(2, "amelie", 0, NOW + 9, None), published(3, "amelie", 0, NOW + 9, AGAIN))
    assert checks.versions_rise(cleared) == []


# --- (6) and (7) ---


def test_a_recovery_that_takes_too_long_is_found() -> None:
    right = evidence()
    kill = Disturbance("kill", NOW - 60, NOW - 50, crashes=True)
    before = Ends(NOW - 50, {("input", 0): 6, ("hop", 0): 4})
    slow = replace(right, disturbances=[kill], ends=[before, *right.ends])
    assert checks.recoveries(slow) == [("kill", 53.0)]
    assert "kill: expected recovery within 27 s, seen 53.0 s" in only(checks.recoveries_and_shutdowns_are_in_time(slow))
    never = replace(slow, commits=[])
    assert "seen inf s" in only(checks.recoveries_and_shutdowns_are_in_time(never))
    next_one = Disturbance("pause", NOW - 40, NOW - 30, crashes=True)
    assert checks.recoveries(replace(slow, disturbances=[kill, next_one]))[0] == ("kill", None)


@pytest.mark.parametrize(
    ("shutdown", "told"),
    [
        (Shutdown("m", 2.0, 0, in_peace=True), ""),
        (Shutdown("m", 2.0, 18, in_peace=False), ""),
        (Shutdown("m", 12.0, 0, in_peace=True), "m: expected the end within 10 s, seen 12.0 s"),
        (Shutdown("m", 2.0, 18, in_peace=True), "m: expected exit code 0, seen 18"),
        (Shutdown("m", 2.0, 1, in_peace=False), "m: expected exit code 0 or 18, seen 1"),
    ],
)
def test_a_shutdown_that_is_late_or_unclean_is_found(shutdown: Shutdown, told: str) -> None:
    wrong = checks.recoveries_and_shutdowns_are_in_time(replace(evidence(), shutdowns=[shutdown]))
    assert wrong == ([told] if told else [])


def test_a_partition_that_is_idle_with_lag_is_found_and_nemeses_are_not_counted() -> None:
    stuck = with_commits(commit("input", 6, 0, NOW + 3), commit("hop", 1, 0, NOW + 3))
    told = only(checks.no_partition_was_idle_with_lag(stuck))
    assert told == "('hop', 0): expected to move within 27 s, seen 55.0 s with lag"
    outage = Disturbance("outage", NOW + 10, NOW + 50, crashes=True)
    assert checks.no_partition_was_idle_with_lag(replace(stuck, disturbances=[outage])) == []


def test_many_findings_are_cut_short() -> None:
    wrong = checks.every_input_offset_is_accounted_for(
        replace(evidence(), repartition={0: [routed(at, 5, f"user_{at}", NOW) for at in range(9)]}, dead_letters={})
    )
    assert len(wrong) == checks.SHOWN + 1
    assert wrong[-1] == "… 6 input offsets in all"


# --- the reader ---


def test_a_reader_keeps_the_higher_version_and_null_clears() -> None:
    reader = Reader()
    for value in (b'{"version": 5}', b'{"version": 4}'):
        reader.take(b"u", value)
    assert reader.users == {"u": {"version": 5}}
    reader.take(b"u", None)
    assert reader.users == {}
    reader.take(b"u", b'{"version": 4}')
    assert reader.users == {"u": {"version": 4}}
