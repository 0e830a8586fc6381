"""A replay gives the records that were there before, whatever happens to it; with another rule, those of that rule."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.job import Job
from tests.acceptance.members import Member, environment
from tests.acceptance.oracle import OracleSettings, fold
from tests.acceptance.topic_log import end_offsets, read_topic
from tests.acceptance.traffic import ANONYMOUS_PATTERN, Plan
from tests.brokers import CHECKOUT
from worker.errors import ExitCode
from worker.group import Group
from worker.group_offsets import committed_offsets
from worker.kafka import Admin, TopicPartition
from worker.replay.rewind import write_resets
from worker.settings import Settings

PLAN = Plan(payloads=3000, users=150)
HALF = PLAN.start + PLAN.span_s - PLAN.lookback_seconds / 2  # so that what happened since is still shown in the end
ERASED = ("user_18", "user_28", "user_38")  # for good: the wall clock is far ahead of the traffic
CLEARED = ("user_58", "user_68", "user_78", "user_88", "user_98")  # up to HALF, and active since
SESSION_TIMEOUT_MS = 2000
TIMEOUT_S = 60.0
Records = dict[str, dict[str, Any] | None]


@pytest.fixture(scope="module")
def job(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """The main job, done and stopped, with some users erased on the way. Each test but the last leaves the records as
    they were."""
    run = uuid.uuid4().hex[:8]
    job = Job(kafka, lambda name: f"replay-{run}-{name}", tmp_path_factory.mktemp("replay"), PLAN)
    job.group.settings.update(session_timeout_ms=SESSION_TIMEOUT_MS, commit_interval_s=0.2)
    try:
        member = job.group.start("before")
        job.group.wait_for_owners(1)
        halfway = sum(sent.timestamp_ms < HALF * 1000 for sent in job.sent)
        job.feed_all(job.sent[:halfway], until_done=True)
        settings = settings_of(job)
        write_resets(settings, [(user_id, HALF) for user_id in CLEARED])
        write_resets(settings, [(user_id, time.time()) for user_id in ERASED])
        job.feed_all(job.sent[halfway:])
        job.group.wait_until_settled()
        job.group.stop(member)
        yield job
    finally:
        job.group.close()
        job.close()


@pytest.fixture(scope="module")
def before(job: Job) -> Records:
    """What everybody's newest record says, all but its version."""
    records = said(job)
    assert not set(ERASED) & records.keys()
    assert sum(user_id in records for user_id in CLEARED) >= 2
    assert len(records) > 80
    return records


def settings_of(job: Job) -> Settings:
    return Settings.model_validate(job.group.settings)


def said(job: Job) -> Records:
    """The records that say something, without their versions."""
    return {
        user_id: {name: value for name, value in record.items() if name != "version"}
        for user_id, record in job.output().items()
        if record is not None
    }


class Replay:
    """`context-worker replay` in a process of its own."""

    def __init__(self, job: Job, *arguments: str, **settings: object) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("WORKER_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "worker", "replay", *arguments],
            cwd=CHECKOUT,
            env=inherited | environment(job.group.settings | settings) | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self, text: str) -> bool:
        """Wait until it tells so much; False when it ends because of a member that was killed just before."""
        assert self.process.stderr is not None
        told = []
        for line in self.process.stderr:
            told.append(line)
            if text in line:
                return True
        self.process.communicate()
        assert "has members" in told[0], told
        return False

    def end(self, signum: signal.Signals | None = None) -> tuple[int, str, str]:
        """Wait for it, after a signal; exit code, stdout, stderr."""
        if signum is not None:
            self.process.send_signal(signum)
        printed, told = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, printed, told


def replay(job: Job, *arguments: str, **settings: object) -> str:
    """One that succeeds; what it printed. A member that was killed just before is waited for."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        code, printed, told = Replay(job, *arguments, **settings).end()
        if code != ExitCode.GROUP_IS_LIVE or time.monotonic() > deadline:
            assert code == 0, f"{code}: {printed}\n{told}"
            return printed


def positions(job: Job) -> list[tuple[object, ...]]:
    """Everything that the group has committed."""
    group_id = str(job.group.settings["group_id"])
    admin = Admin(settings_of(job))
    ends = end_offsets(admin, job.group.input_topic) | end_offsets(admin, job.group.repartition_topic)
    found = committed_offsets(admin, group_id, [TopicPartition(*each) for each in ends])
    return sorted((one.topic, one.partition, one.offset, one.metadata) for one in found)


def offsets(job: Job) -> list[tuple[object, ...]]:
    return [position[:3] for position in positions(job)]


@contextlib.contextmanager
def living(job: Job, name: str) -> Iterator[Member]:
    """A member that works meanwhile."""
    member = job.group.start(name)
    try:
        yield member
        job.group.stop(member)
    finally:
        job.group.crash(member)


def ends(job: Job) -> dict[tuple[str, int], int]:
    admin, group = Admin(settings_of(job)), job.group
    topics = (group.input_topic, group.repartition_topic, group.output_topic, group.dlq_topic)
    return {each: end for topic in topics for each, end in end_offsets(admin, topic).items()}


def test_a_dry_run_changes_nothing(job: Job, before: Records) -> None:
    topics, committed = ends(job), positions(job)
    printed = replay(job, "--from", "beginning", "--dry-run")
    assert (ends(job), positions(job)) == (topics, committed)
    assert f"{sum(end for (topic, _), end in topics.items() if topic == job.group.input_topic):,} records" in printed
    assert f"{len(ERASED) + len(CLEARED)} resets found" in printed
    assert f"{len(before)} users known" in printed
    assert "warning: it begins before the repartition topic's first record" in printed


def test_it_refuses_while_a_member_lives_and_says_which(job: Job, before: Records) -> None:
    with living(job, "alive") as member:
        job.group.wait_for_owners(1)
        written, committed = ends(job)[job.group.repartition_topic, 0], offsets(job)
        for arguments in (("--yes",), ("--dry-run",)):
            code, printed, told = Replay(job, "--from", "1h", *arguments).end()
            assert code == ExitCode.GROUP_IS_LIVE
            assert f"-{member.process.pid} on " in told
            assert ("resets found" in printed) == ("--dry-run" in arguments)
        assert (ends(job)[job.group.repartition_topic, 0], offsets(job)) == (written, committed)


@pytest.mark.parametrize(
    ("start", "settings"),
    [
        ("beginning", {}),
        (f"{PLAN.start + PLAN.span_s - 60}", {}),
        ("beginning", {"processing_guarantee": "exactly_once", "instance_id": "one"}),
    ],
    ids=["from the beginning", "lately", "exactly once"],
)
def test_every_record_is_as_before_and_nothing_erased_shows_on_the_way(
    start: str, settings: dict[str, object], job: Job, before: Records
) -> None:
    ended = ends(job)
    printed = replay(job, "--from", start, "--yes", **settings)
    assert Group(Admin(settings_of(job)), settings_of(job).group_id).members()[1] == (), "it has left"
    assert said(job) == before
    assert f"{len(before)} users published, 0 users of before cleared, 8 resets written again" in printed
    renewed = newer(job, ended)
    assert before.keys() <= renewed
    assert not renewed & set(ERASED)


def newer(job: Job, since: dict[tuple[str, int], int]) -> set[str]:
    """The users of whom something was published."""
    topic = job.group.output_topic
    logs = read_topic(job.bootstrap, topic)
    later = [record for number, log in logs.items() for record in log if record.offset >= since[topic, number]]
    return {(record.key or b"").decode() for record in later if record.value is not None}


def test_broken_off_on_the_way_and_run_again_it_gives_the_same(job: Job, before: Records) -> None:
    for line, signum in (
        ("replaying", signal.SIGKILL),
        ("publishing the users", signal.SIGKILL),
        ("replaying", signal.SIGINT),
    ):
        code, _, told = begun(job, line).end(signum)
    assert code == ExitCode.INTERRUPTED
    assert "run the replay again" in told
    replay(job, "--from", "1h", "--yes")
    assert said(job) == before


def begun(job: Job, line: str) -> Replay:
    """One that has said this."""
    while True:
        running = Replay(job, "--from", "beginning", "--yes")
        if running.says(line):
            return running


def test_killed_before_it_moved_the_group_it_has_changed_nothing(job: Job, before: Records) -> None:
    write_resets(settings_of(job), [(user_id, HALF) for user_id in CLEARED[:3]])
    with living(job, "unaware"):
        job.group.wait_for_owners(1)
        job.group.wait_until_settled()
    assert said(job) == before


def test_others_may_join_meanwhile(job: Job, before: Records) -> None:
    running = Replay(job, "--from", "beginning", "--yes", commit_interval_s=4)
    assert running.says("replaying")
    running.process.send_signal(signal.SIGSTOP)  # it would be done before the other has begun
    with living(job, "helper") as helper:
        job.group.wait_for(lambda: "started" in helper.log, "the helper joins", timeout_s=60)
        running.process.send_signal(signal.SIGCONT)
        code, printed, told = running.end()
        assert code == 0, told
        assert "0 users of before cleared" in printed
        job.group.wait_for(lambda: "assigned" in helper.log, "the helper works", timeout_s=60)  # at the latest now
        job.group.wait_until_settled()
    assert said(job) == before


def test_with_another_rule_it_gives_what_a_first_run_with_that_rule_gives(job: Job, before: Records) -> None:
    pattern = f"{ANONYMOUS_PATTERN}|^user_1"
    printed = replay(job, "--from", "beginning", "--yes", anonymous_user_id_pattern=pattern)
    settings = OracleSettings(
        lookback_seconds=PLAN.lookback_seconds,
        link_retention_s=PLAN.link_retention_s,
        anonymous_user_id_pattern=pattern,
        repartition_partitions=PLAN.partitions,
    )
    expected = fold(read_topic(job.bootstrap, job.group.input_topic), settings).users
    reset = {*ERASED, *CLEARED}
    found = said(job)
    assert {user_id: record for user_id, record in found.items() if user_id not in reset} == {
        user_id: record for user_id, record in expected.items() if record is not None and user_id not in reset
    }
    gone = before.keys() - found.keys()
    assert len([user_id for user_id in gone if user_id.startswith("user_1")]) > 5
    output = job.output()
    assert [output[user_id] for user_id in gone] == [None] * len(gone)
    assert f"{len(gone)} users of before cleared" in printed
