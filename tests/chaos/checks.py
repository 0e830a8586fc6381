"""What must hold when it is quiet again: each check is a function of the evidence and says what is wrong, in words."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from tests.acceptance.comparing import differences, newest_records, newest_visitors
from tests.acceptance.oracle import Position
from tests.chaos.commit_log import Commit
from tests.chaos.evidence import NEVER, Evidence

SHOWN = 5
INFINITY = float("inf")
TRANSACTION_S = 10.0  # a transaction's records may be appended after the commit in it, and become visible together


def the_newest_record_is_the_oracles(evidence: Evidence) -> list[str]:
    """(1) Who followed the output all the time knows of every user what a batch fold of the input says."""
    return _some(differences(evidence.expected.users, evidence.followed), "users, to a reader that followed")


def a_fresh_reader_sees_the_same(evidence: Evidence) -> list[str]:
    """(2) So does who comes afterwards, when compaction has left the newest record of each user."""
    found = newest_records(evidence.output, evidence.settings.repartition_partitions)
    return _some(differences(evidence.expected.users, found), "users, to a fresh reader")


def sessions_have_the_oracles_records(evidence: Evidence) -> list[str]:
    """(2b) And of every session, linked or a visitor's."""
    expected = evidence.expected.visitors
    found = newest_visitors(evidence.sessions, evidence.settings.repartition_partitions, expected)
    return _some(differences(expected, found), "sessions")


def every_input_offset_is_accounted_for(evidence: Evidence) -> list[str]:
    """(3) Routed to its user, held, skipped by rule, or a dead letter; with exactly_once each exactly once."""
    expected = evidence.expected
    routed: dict[Position, Counter[str]] = defaultdict(Counter)
    for records in evidence.routed.values():
        for record in records:
            if record.source is not None:
                routed[record.source][record.user_id] += 1
    letters = Counter(source for source, _ in evidence.letters)
    wrong = []
    for position in sorted(routed.keys() | expected.routed.keys()):
        route = expected.routed.get(position)
        wanted = set() if route is None else {route.user_id}
        if routed[position].keys() != wanted:
            wrong.append(f"input {position}: expected routed to {wanted or 'nobody'}, seen {dict(routed[position])}")
        elif evidence.exactly_once and routed[position].total() != 1:
            wrong.append(f"input {position}: expected routed once, seen {routed[position].total()} times")
    for position in sorted(letters.keys() | expected.dead_letters.keys()):
        reason = expected.dead_letters.get(position)
        if (reason is None) != (position not in letters):
            wrong.append(f"input {position}: expected dead letter {reason!r}, seen {letters[position]}")
        elif evidence.exactly_once and letters[position] != 1:
            wrong.append(f"input {position}: expected one dead letter, seen {letters[position]}")
    accounted = expected.routed.keys() | expected.dead_letters.keys() | expected.unclaimed | expected.skipped_at
    there = {record.position for records in evidence.input.values() for record in records}
    wrong += [f"input {position}: the oracle does not say what becomes of it" for position in there ^ accounted]
    return _some(wrong, "input offsets")


# --- (4) -------------------------------------------------------------------------------------------------------------


def no_commit_passes_what_is_not_reflected(evidence: Evidence) -> list[str]:
    """(4) When an offset was committed, all below it was on the next topic, or will be read again by a restore."""
    by_session = [commit for commit in evidence.commits if commit.topic == evidence.input_topic]
    by_user = [commit for commit in evidence.commits if commit.topic == evidence.repartition_topic]
    missing = [] if by_session and by_user else [f"commits: expected some of both topics, seen {len(evidence.commits)}"]
    wrong = [*_input_commits(evidence, by_session), *_repartition_commits(evidence, by_user)]
    return _some(missing + wrong, "commits")


def _input_commits(evidence: Evidence, commits: Iterable[Commit]) -> list[str]:
    """A payload is reflected once it is routed; a held one while the restore offset is not beyond it."""
    slack = TRANSACTION_S if evidence.exactly_once else 0.0
    reflected = _first_times(evidence)
    due: dict[int, list[tuple[int, int, float]]] = defaultdict(list)  # settled by offset, offset, when
    for (partition, offset), route in evidence.expected.routed.items():
        due[partition].append((route.by_offset, offset, reflected.get((partition, offset), INFINITY)))
    for partition, offset in evidence.expected.dead_letters:
        due[partition].append((offset, offset, reflected.get((partition, offset), INFINITY)))
    wrong = []
    for commit in commits:
        at, restore = commit.at_ms / 1000, _restore_offset(commit)
        if restore is None:
            wrong.append(f"{_name(commit)}: expected our metadata, seen {commit.metadata!r}")
            continue
        for by_offset, offset, when in due[commit.partition]:
            if by_offset < commit.next_offset and when > at + slack:
                wrong.append(f"{_name(commit)}: input offset {offset} is not on the next topic yet")
            elif offset < min(restore, commit.next_offset) and by_offset >= commit.next_offset:
                wrong.append(f"{_name(commit)}: a restore from {restore} forgets the held offset {offset}")
    return wrong


def _first_times(evidence: Evidence) -> dict[Position, float]:
    """When each input offset was first on the repartition or the dead-letter topic."""
    times = list(evidence.letters)
    times += [(record.source, record.at) for records in evidence.routed.values() for record in records if record.source]
    first: dict[Position, float] = {}
    for position, at in times:
        first[position] = min(at, first.get(position, INFINITY))
    return first


def _repartition_commits(evidence: Evidence, commits: Iterable[Commit]) -> list[str]:
    """A record is reflected once its user was published with its offset as version, or as null."""
    slack = TRANSACTION_S if evidence.exactly_once else 0.0
    effective = {partition: _effective(evidence, partition) for partition in evidence.routed}
    published: dict[str, list[tuple[float, int | None]]] = defaultdict(list)
    for user_id, record, version in evidence.published():
        published[user_id].append((record.timestamp_ms / 1000, version))
    wrong = []
    for commit in commits:
        at = commit.at_ms / 1000 + slack
        for user_id, records in effective.get(commit.partition, {}).items():
            below = bisect_left(records, (commit.next_offset, NEVER))
            if below and not _is_out(published[user_id], records[below - 1], at):
                offset = records[below - 1][0]
                wrong.append(f"{_name(commit)}: {user_id!r} is not published with offset {offset} yet")
    return wrong


def _effective(evidence: Evidence, partition: int) -> dict[str, list[tuple[int, float]]]:
    """The records that change their user, neither late nor erased: offset and time, by user."""
    stream_time, marks, found = NEVER, dict[str, float](), defaultdict(list)
    for record in evidence.routed[partition]:
        stream_time = max(stream_time, record.s)
        mark = marks.get(record.user_id, NEVER)
        if record.source is None:
            marks[record.user_id] = max(mark, record.t)
        elif record.t < stream_time - evidence.settings.retention_s or record.t <= mark:
            continue
        found[record.user_id].append((record.offset, record.at))
    return found


def _is_out(published: Iterable[tuple[float, int | None]], record: tuple[int, float], by: float) -> bool:
    offset, since = record
    return any(at <= by and (at >= since if version is None else version >= offset) for at, version in published)


def _restore_offset(commit: Commit) -> int | None:
    try:
        return int(json.loads(commit.metadata)["restore"])
    except (ValueError, KeyError, TypeError):
        return None


def _name(commit: Commit) -> str:
    return f"commit {commit.next_offset} of {commit.topic}[{commit.partition}] at {commit.at_ms}"


# --- (5) to (7) ------------------------------------------------------------------------------------------------------


def versions_rise(evidence: Evidence) -> list[str]:
    """(5) In log order a user's version falls only by what a crash repeats, and the highest comes last; with
    exactly_once it never falls."""
    highest: dict[str, int] = {}
    newest: dict[str, int] = {}
    wrong = []
    for user_id, record, version in evidence.published():
        if version is None:
            highest.pop(user_id, None)
            newest.pop(user_id, None)
            continue
        before = highest.get(user_id, -1)
        at = record.timestamp_ms / 1000
        if version < before and (evidence.exactly_once or not _after_a_crash(evidence, at)):
            wrong.append(f"{user_id!r}: expected at least version {before} at {at:.3f}, seen {version}")
        highest[user_id], newest[user_id] = max(before, version), version
    for user_id, version in newest.items():
        if version < highest[user_id]:
            wrong.append(f"{user_id!r}: expected version {highest[user_id]} in the end, seen {version}")
    return _some(wrong, "versions")


def _after_a_crash(evidence: Evidence, at: float) -> bool:
    limit = recovery_limit_s(evidence)
    return any(each.crashes and each.begin <= at <= each.end + limit for each in evidence.disturbances)


def recovery_limit_s(evidence: Evidence) -> float:
    """How long all that was there when a nemesis ended may take: the coordinator may wait for a session twice."""
    return 2 * evidence.session_timeout_s + 15.0


SHUTDOWN_LIMIT_S = 10.0
REAPED_S = 1.0  # until the operating system has let the process go, on a machine with other load
UNCLEAN_STOP = 18  # the named exit code of a stop without a last checkpoint


def recoveries_and_shutdowns_are_in_time(evidence: Evidence) -> list[str]:
    """(6) Each nemesis is recovered from, each member ends in time and clean; without a broker with a named code."""
    limit = recovery_limit_s(evidence)
    wrong = [
        f"{name}: expected recovery within {limit:.0f} s, seen {seconds:.1f} s"
        for name, seconds in recoveries(evidence)
        if seconds is not None and seconds > limit
    ]
    for name, seconds, exit_code, in_peace in evidence.shutdowns:
        if seconds > SHUTDOWN_LIMIT_S + REAPED_S:
            wrong.append(f"{name}: expected the end within {SHUTDOWN_LIMIT_S:.0f} s, seen {seconds:.1f} s")
        if exit_code not in ((0,) if in_peace else (0, UNCLEAN_STOP)):
            wrong.append(f"{name}: expected exit code 0{'' if in_peace else ' or 18'}, seen {exit_code}")
    return _some(wrong, "times")


def recoveries(evidence: Evidence) -> list[tuple[str, float | None]]:
    """How long after each nemesis all that was there by then was committed; None: the next one came before."""
    found: list[tuple[str, float | None]] = []
    for number, (name, _, end, _) in enumerate(evidence.disturbances):
        sample = next((sample for sample in evidence.ends if sample.at >= end), None)
        if sample is None:
            found.append((name, None))
            continue
        recovered = max(
            (_committed_at(evidence, partition, offset) for partition, offset in sample.offsets.items() if offset),
            default=end,
        )
        others = [each for at, each in enumerate(evidence.disturbances) if at != number]
        is_overtaken = any(each.begin < recovered and each.end > end for each in others)
        found.append((name, None if is_overtaken else max(0.0, recovered - end)))
    return found


def _committed_at(evidence: Evidence, partition: tuple[str, int], offset: int) -> float:
    times = (
        commit.at_ms / 1000
        for commit in evidence.commits
        if (commit.topic, commit.partition) == partition and commit.next_offset >= offset
    )
    return next(times, INFINITY)


def no_partition_was_idle_with_lag(evidence: Evidence) -> list[str]:
    """(7) While there was something to do, each partition moved on; nemeses at work are not counted."""
    limit = recovery_limit_s(evidence)
    wrong = []
    for partition, stood in idle_times(evidence).items():
        if stood > limit:
            wrong.append(f"{partition}: expected to move within {limit:.0f} s, seen {stood:.1f} s with lag")
    return _some(wrong, "partitions")


def idle_times(evidence: Evidence) -> dict[tuple[str, int], float]:
    """The longest time that each partition had lag and no commit, without the times of nemeses."""
    moves: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)
    for commit in evidence.commits:
        moves[commit.topic, commit.partition].append((commit.at_ms / 1000, commit.next_offset))
    longest: dict[tuple[str, int], float] = defaultdict(float)
    since: dict[tuple[str, int], tuple[int, float]] = {}
    for at, offsets in evidence.ends:
        for partition, end in offsets.items():
            position = _position_at(moves[partition], at)
            before = since.get(partition)
            if before is None or before[0] != position or position >= end:
                since[partition] = position, at
                continue
            longest[partition] = max(longest[partition], _undisturbed(evidence, before[1], at))
    return dict(longest)


def _position_at(moves: list[tuple[float, int]], at: float) -> int:
    made = bisect_left(moves, (at, -1))
    return moves[made - 1][1] if made else 0


def _undisturbed(evidence: Evidence, begin: float, end: float) -> float:
    """The part of a time in which no nemesis was at work."""
    left, at = 0.0, begin
    for each in sorted(evidence.disturbances, key=lambda each: each.begin):
        if each.end > at and each.begin < end:
            left += max(0.0, each.begin - at)
            at = max(at, each.end)
    return left + max(0.0, end - at)


# --- all of them -----------------------------------------------------------------------------------------------------

CHECKS: tuple[Callable[[Evidence], list[str]], ...] = (
    the_newest_record_is_the_oracles,
    a_fresh_reader_sees_the_same,
    sessions_have_the_oracles_records,
    every_input_offset_is_accounted_for,
    no_commit_passes_what_is_not_reflected,
    versions_rise,
    recoveries_and_shutdowns_are_in_time,
    no_partition_was_idle_with_lag,
)


def all_wrong(evidence: Evidence) -> Mapping[str, list[str]]:
    """What each check finds; those that find nothing are left out."""
    found = {check.__name__: check(evidence) for check in CHECKS}
    return {name: wrong for name, wrong in found.items() if wrong}


def _some(wrong: list[str], of_what: str) -> list[str]:
    more = [f"… {len(wrong)} {of_what} in all"] if len(wrong) > SHOWN else []
    return wrong[:SHOWN] + more
