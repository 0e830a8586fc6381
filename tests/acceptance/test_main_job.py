"""The promise: whatever the members go through, the newest record of every user is what the oracle says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.job import Job
from tests.acceptance.traffic import Plan

MakeJob = Callable[..., Job]


def test_two_members_publish_what_the_oracle_says(make_job: MakeJob) -> None:
    job = make_job()
    job.group.start("first")
    job.group.start("second")
    job.group.wait_for_owners(2)

    job.feed_all(job.sent)
    job.group.wait_until_settled()

    expected = job.assert_right()
    assert len(job.sent) - len(expected.dead_letters) - expected.skipped.total() >= 10_000


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
@pytest.mark.parametrize("group_protocol", ["classic", "consumer"])
def test_a_third_member_joins_and_the_first_leaves_under_load(
    make_job: MakeJob, group_protocol: str, guarantee: str
) -> None:
    job = make_job(group_protocol=group_protocol, processing_guarantee=guarantee)
    first = job.group.start("first")
    job.group.start("second")
    job.group.wait_for_owners(2)
    lately = job.sent_until(1.2)
    job.feed.send(job.sent[:lately])
    chunks = job.chunks(job.sent[lately:])

    def under_load(condition: Callable[[], bool]) -> Callable[[], bool]:
        def sent_some_more() -> bool:
            job.feed.send(next(chunks, ()))
            return condition()

        return sent_some_more

    job.group.start("third")
    job.group.wait_for(under_load(lambda: job.group.is_shared_by(3)), "three owners", timeout_s=60)
    job.group.dismiss(first)
    job.group.wait_for(under_load(lambda: first.exit_code is not None), "the first has left", timeout_s=60)
    first.wait_exit()
    job.group.wait_for(under_load(lambda: job.group.is_shared_by(2)), "two owners", timeout_s=60)
    rest = [record for chunk in chunks for record in chunk]
    assert rest, "the traffic was over before the group had changed"
    job.feed_all(rest)
    job.group.wait_until_settled()

    job.assert_right()


def test_all_members_are_restarted(make_job: MakeJob) -> None:
    job = make_job()
    settled, stopped, started = job.sent_until(0.6), job.sent_until(0.5), job.sent_until(0.3)
    members = [job.group.start("first"), job.group.start("second")]
    job.group.wait_for_owners(2)
    job.feed_all(job.sent[:settled], until_done=True)
    job.feed_all(job.sent[settled:stopped])
    job.group.stop(*members)

    job.feed_all(job.sent[stopped:started])
    members = [job.group.start("third"), job.group.start("fourth")]
    job.group.wait_for_owners(2)
    job.feed_all(job.sent[started:])
    job.group.wait_until_settled()
    job.assert_right()

    job.group.stop(*members)
    job.group.start("fifth")
    job.group.start("sixth")
    job.group.wait_for_owners(2)
    job.group.wait_until_settled()
    job.assert_right()


def test_one_partition_runs_far_ahead_of_the_others(make_job: MakeJob) -> None:
    job = make_job()
    job.group.start("first")
    job.group.start("second")
    job.group.wait_for_owners(2)

    for partition in range(job.plan.partitions):
        job.feed_all(record for record in job.sent if record.partition == partition)
        job.group.wait_until_settled()

    job.assert_right()


def test_a_killed_member_leaves_nothing_behind(make_job: MakeJob) -> None:
    job = make_job(session_timeout_ms=6000)
    first = job.group.start("first")
    job.group.start("second")
    job.group.wait_for_owners(2)
    settled, killed = job.sent_until(0.6), job.sent_until(0.4)

    job.feed_all(job.sent[:settled], until_done=True)
    job.feed_all(job.sent[settled:killed])
    job.group.crash(first)
    job.feed_all(job.sent[killed:])
    job.group.wait_for_owners(1)
    job.group.wait_until_settled()

    job.assert_right(repeats=True)


def test_idle_users_expire_by_the_wall_clock(make_job: MakeJob) -> None:
    ended = time.time() - Plan().lookback_seconds / 2
    job = make_job(Plan(start=ended - Plan().span_s), expire_idle_users=True, idle_after_s=3)
    job.group.start("first")
    job.group.start("second")
    job.group.wait_for_owners(2)
    job.feed_all(job.sent)
    by_stream_time = job.expected().users
    margin_s = 10.0  # a member looks at its clock now and then, and publishing takes its time

    def wrong() -> list[str]:
        now, output = time.time(), job.output()

        def is_wrong(user_id: str, record: dict[str, Any] | None) -> bool:
            found = output.get(user_id)
            if record is None or record["expires_at"] < now - margin_s:
                return found is not None
            return record["expires_at"] > now + margin_s and found != {
                **record,
                "version": (found or {}).get("version"),
            }

        return [user_id for user_id, record in by_stream_time.items() if is_wrong(user_id, record)]

    job.group.wait_for(lambda: not wrong(), "the expired are null, and only they", timeout_s=60)
    alive = sum(record is not None for record in job.output().values())
    assert 50 <= alive <= sum(record is not None for record in by_stream_time.values()) - 50
