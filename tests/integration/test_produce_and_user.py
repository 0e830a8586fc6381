"""The commands on a real broker: topics, produce, status, user, and a member that works between them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.user_context import UserContext
from tests.acceptance.members import Member, environment
from tests.brokers import CHECKOUT
from tests.integration.shell import PARTITIONS, Shell, create, records, wait_until
from worker import kafka_properties
from worker.errors import ExitCode, Fatal
from worker.kafka import Admin, Producer, murmur2
from worker.lookup import Lookup
from worker.settings import Settings
from worker.topic_policy import Role
from worker.topics import find_topic

SENTINEL = "hunter2-sentinel"

# --- the way that the README shows ---


def test_the_sample_becomes_live_context(shell: Shell, member: Member) -> None:
    published = shell("produce", "--rebase", "sample")
    assert published.returncode == 0, published.stderr
    assert b"published 3" in published.stdout
    assert b"Try: context-worker user " in published.stdout

    def is_complete() -> bool:
        asked = shell("user", "amelie", "--json")
        return asked.returncode == 0 and len(json.loads(asked.stdout)["sessions"]) == 2

    wait_until(is_complete, "amelie has two sessions")
    record = UserContext.model_validate_json(shell("user", "amelie", "--json").stdout)
    assert record.email == "amelie.laurent@harbour.example"
    assert [session.session_id for session in record.sessions] == ["s-amelie-desk", "h-amelie"]
    assert "Tested single sign-on and saw: audience does not match" in record.sessions[0].context
    assert "Copied the audience address" in record.sessions[1].context

    shown = shell("user", "amelie").stdout.decode()
    assert shown.startswith("amelie  amelie.laurent@harbour.example\n")
    assert record.sessions[0].context in shown
    assert shell("user", "4217").returncode == 0
    nobody = shell("user", "nobody")
    assert (nobody.returncode, nobody.stdout) == (ExitCode.NOT_FOUND, b"")
    assert b"nothing is known of user nobody" in nobody.stderr

    def caught_up() -> dict[str, Any] | None:
        status = json.loads(shell("status", "--json").stdout)
        return status if {one["state"] for one in status["partitions"]} == {"caught up"} else None

    wait_until(lambda: caught_up() is not None, "everything is committed")
    status = caught_up()
    assert status is not None
    assert (status["state"], status["lag"], len(status["members"])) == ("stable", 0, 1)
    assert status["members"][0]["partitions"] == 2 * PARTITIONS == len(status["partitions"])
    assert all(one["restore_offset"] is not None for one in status["partitions"] if one["committed"])
    assert shell.settings.repartition_topic in shell("status").stdout.decode()


def test_no_secret_is_printed_even_while_debugging(shell: Shell, member: Member, tmp_path: Path) -> None:
    secrets = {f"WORKER_KAFKA_{name.upper().replace('.', '_')}": SENTINEL for name in sorted(kafka_properties.SECRETS)}
    talkative = {
        "log_level": "DEBUG",
        "kafka_debug": "all",
        **{k.removeprefix("WORKER_").lower(): v for k, v in secrets.items()},
    }
    second = Member("two", shell.given | talkative, tmp_path / "two.log")
    wait_until(lambda: "assigned" in second.log, "the second member has joined")
    second.terminate()
    second.wait_exit()
    assert len(second.log) > 10_000
    assert SENTINEL not in second.log
    told = shell("topics", more=secrets | {"WORKER_LOOKBACK_SECONDS": "soon"})
    assert told.returncode == ExitCode.USAGE
    assert SENTINEL.encode() not in told.stdout + told.stderr


def test_status_before_anybody_joined_counts_what_waits(shell: Shell) -> None:
    shell("topics", "--input-partitions", str(PARTITIONS))
    shell("produce", "sample")
    status = json.loads(shell("status", "--json").stdout)
    assert status["lag"] == len(records(shell.settings, shell.settings.input_topic))
    assert status["lag_s"] > 0
    assert {one["state"] for one in status["partitions"]} == {"no owner"}
    assert b"nobody has joined yet" in shell("status").stdout
    elsewhere = shell("status", "--json", more={"WORKER_INPUT_TOPIC": f"{shell.settings.input_topic}.none"})
    assert (elsewhere.returncode, elsewhere.stdout) == (ExitCode.TOPIC_MISSING, b"")
    assert b"context-worker topics --input-partitions 4" in elsewhere.stderr


# --- produce ---


def test_good_lines_are_published_and_bad_ones_told(shell: Shell, admin: Admin) -> None:
    create(admin, shell.settings.input_topic)
    good = [orjson.dumps({"session_id": f"s{number}", "user_id": "u"}) for number in range(20)]
    lines = [*good[:10], b"nope", b"", b"[]", b'{"user_id":"u"}', *good[10:]]
    done = shell("produce", "-", stdin=b"\n".join(lines))
    assert done.returncode == ExitCode.BAD_INPUT
    told = done.stdout.decode()
    assert "published 20 payloads" in told
    assert "3 lines were not published" in told
    assert "line 11: not valid JSON" in told
    assert "line 14: there is no session_id" in told
    found = records(shell.settings, shell.settings.input_topic)
    assert sorted(value or b"" for _, _, value in found) == sorted(good)  # byte for byte
    for partition, key, value in found:
        assert key is not None
        assert value is not None
        assert orjson.loads(value)["session_id"].encode() == key
        assert partition == murmur2(key, PARTITIONS)


def test_rebase_keeps_the_distances_and_ends_now(shell: Shell, admin: Admin) -> None:
    create(admin, shell.settings.input_topic)
    lines = [
        {"session_id": "s", "forwarded_at": 100.0 + 10 * n, "actions": [{"timestamp_start": 99.0}]} for n in range(3)
    ]
    done = shell("produce", "--rebase", "-", stdin=b"\n".join(map(orjson.dumps, lines)))
    assert done.returncode == 0
    found = [orjson.loads(value or b"") for _, _, value in records(shell.settings, shell.settings.input_topic)]
    times = [payload["forwarded_at"] for payload in found]
    assert times[-1] == pytest.approx(time.time(), abs=30)
    assert [round(times[-1] - at, 3) for at in times] == [20.0, 10.0, 0.0]
    assert found[0]["forwarded_at"] - found[0]["actions"][0]["timestamp_start"] == pytest.approx(1.0)


def test_a_large_payload_is_published_and_one_too_large_is_told(shell: Shell, admin: Admin) -> None:
    create(admin, shell.settings.input_topic, max_message_bytes="5000000")
    noise = random.Random(1).randbytes(4_500_000).hex()  # hardly compressible

    def line(session_id: str, size: int) -> bytes:
        return orjson.dumps({"session_id": session_id, "actions": [{"description": noise[:size]}]})

    lines = [line("small", 10), line("large", 3_000_000), line("too-large", 9_000_000), line("after", 10)]
    done = shell("produce", "-", stdin=b"\n".join(lines))
    assert done.returncode == ExitCode.BAD_INPUT
    assert b"line 3: the broker does not take it" in done.stdout
    found = records(shell.settings, shell.settings.input_topic)
    assert {key for _, key, _ in found} == {b"small", b"large", b"after"}


def test_a_topic_that_is_missing_is_told(shell: Shell) -> None:
    for command, topic in (
        (("produce", "sample"), shell.settings.input_topic),
        (("user", "u"), shell.settings.output_topic),
        (("reset-user", "u"), shell.settings.repartition_topic),
    ):
        done = shell(*command)
        assert done.returncode == ExitCode.TOPIC_MISSING
        assert topic in done.stderr.decode()


# --- user ---


class Writer:
    """Writes records to the output topic as a member would, or as it should not."""

    def __init__(self, settings: Settings) -> None:
        self._producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "log_level": 0})
        self._topic = settings.output_topic

    def write(self, user_id: str, value: bytes | None, partition: int | None = None) -> None:
        home = murmur2(user_id.encode(), PARTITIONS)
        self._producer.produce(self._topic, value, user_id, home if partition is None else partition)
        assert self._producer.flush(10) == 0

    def record(self, user_id: str, version: int, *, age_s: float = 0.0, partition: int | None = None) -> None:
        now = time.time() - age_s
        record = UserContext(user_id=user_id, version=version, updated_at=now, expires_at=now + 300)
        self.write(user_id, record.model_dump_json().encode(), partition)


@pytest.fixture
def writer(shell: Shell, admin: Admin) -> Writer:
    create(admin, shell.settings.output_topic)
    return Writer(shell.settings)


@pytest.fixture
def lookup(shell: Shell, admin: Admin, writer: Writer) -> Iterator[Callable[[str], Lookup]]:
    opened: list[Lookup] = []

    def look_for(user_id: str) -> Lookup:
        opened.append(Lookup(shell.settings, find_topic(admin, shell.settings, Role.OUTPUT), user_id))
        return opened[-1]

    yield look_for
    for one in opened:
        one.close()


def version_of(record: UserContext | None) -> int | None:
    return None if record is None else record.version


def test_the_higher_version_wins_and_a_tombstone_clears_it(writer: Writer, lookup: Callable[[str], Lookup]) -> None:
    for version in (3, 8, 5):
        writer.record("u", version)
    writer.record("other", 99)
    assert version_of(lookup("u").read_to_end()) == 8
    writer.write("u", None)
    assert lookup("u").read_to_end() is None
    writer.record("u", 1)
    assert version_of(lookup("u").read_to_end()) == 1


def test_a_record_on_another_partition_is_found_all_the_same(writer: Writer, lookup: Callable[[str], Lookup]) -> None:
    writer.record("u", 4, partition=(murmur2(b"u", PARTITIONS) + 1) % PARTITIONS)
    assert version_of(lookup("u").read_to_end()) == 4


def test_following_tells_each_change(writer: Writer, lookup: Callable[[str], Lookup]) -> None:
    following = lookup("u")
    assert following.read_to_end() is None
    changes = following.changes()
    writer.record("u", 1)
    writer.record("u", 2)
    assert [version_of(next(changes)), version_of(next(changes))] == [1, 2]
    writer.record("u", 1)  # a stopped member's: no change
    writer.write("u", None)
    assert next(changes) is None


def test_following_shows_changes_until_it_is_interrupted(shell: Shell, writer: Writer) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    following = subprocess.Popen(
        [sys.executable, "-m", "worker", "user", "u", "--follow", "--json"],
        cwd=CHECKOUT,
        env=clean | environment(shell.given),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert following.stdout is not None
    assert following.stderr is not None
    try:
        assert following.stderr.readline() == b"nothing is known of user u\n"
        writer.record("u", 7)
        assert json.loads(following.stdout.readline())["version"] == 7
        following.send_signal(2)
        assert following.wait(20) == ExitCode.INTERRUPTED
    finally:
        following.kill()
        following.communicate()


def test_what_is_expired_is_not_known(shell: Shell, writer: Writer) -> None:
    writer.record("u", 1, age_s=400)
    asked = shell("user", "u")
    assert asked.returncode == ExitCode.NOT_FOUND
    assert b"expired 1 min 4" in asked.stderr


def test_a_record_that_is_not_ours_is_an_error_that_says_where(writer: Writer, lookup: Callable[[str], Lookup]) -> None:
    writer.write("u", b"{}")
    with pytest.raises(Fatal, match=r"partition \d, offset 0"):
        lookup("u").read_to_end()
