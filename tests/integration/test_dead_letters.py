"""`dlq list` and `dlq retry` on a real broker: byte for byte, once each, and nothing by a dry run."""

from __future__ import annotations

import base64
import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.dead_letter import DeadLetter, Header
from tests.acceptance.members import Member
from tests.integration.shell import PARTITIONS, Shell, create, messages, wait_until
from worker.dlq import retry
from worker.dlq.letter_log import read_letters
from worker.dlq.plan import Judge, plan_retry
from worker.dlq.retry_group import RetryGroup
from worker.dlq.selection import Selection
from worker.errors import ExitCode
from worker.kafka import Admin, Message, Producer, murmur2
from worker.runtime.clients import headers_of
from worker.topic_policy import Role
from worker.topics import find_topic, newest_timestamp

OWN: list[Header] = [("trace", b"\x00\xff"), ("trace", b"again"), ("empty", b""), ("none", None)]
Sent = tuple[int | None, bytes | None, bytes | None, list[Header]]


def letter(number: int, partition: int = 0, **different: Any) -> DeadLetter:
    why = DeadLetter("wrong_type", "count", "", partition, number, round(time.time() * 1000) - 5000, "0.1.0")
    return replace(why, **different)


class Topics:
    """Writes to the topics of a test, as a client of the product or as a member does."""

    def __init__(self, shell: Shell) -> None:
        self._settings = shell.settings
        self._producer = Producer({"bootstrap.servers": shell.settings.bootstrap_servers, "log_level": 0})

    def write(
        self, topic: str, value: bytes | None, key: bytes | None, headers: list[Header], partition: int, at_ms: int = 0
    ) -> None:
        given: list[tuple[str, str | bytes | None]] = [*headers]
        self._producer.produce(topic, value, key, partition, headers=given, timestamp=at_ms)
        assert self._producer.flush(10) == 0

    def bury(self, why: DeadLetter, value: bytes | None, key: bytes | None = b"s", partition: int = 0) -> None:
        """A dead letter as a member writes it."""
        why = replace(why, source_topic=why.source_topic or self._settings.input_topic)
        self.write(self._settings.dlq_topic, value, key, why.to_headers(OWN), partition)


@pytest.fixture
def topics(shell: Shell) -> Topics:
    assert shell("topics", "--input-partitions", str(PARTITIONS)).returncode == 0
    return Topics(shell)


def input_of(shell: Shell) -> list[Sent]:
    return [seen(message) for message in messages(shell.settings, shell.settings.input_topic)]


def seen(message: Message) -> Sent:
    return message.partition(), message.key(), message.value(), headers_of(message) or []


def listed(shell: Shell, *arguments: str) -> list[dict[str, Any]]:
    done = shell("dlq", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def send_again(shell: Shell, *arguments: str, code: int = 0) -> str:
    done = shell("dlq", "retry", *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout.decode()


def test_what_could_not_be_read_goes_around_byte_for_byte(shell: Shell, admin: Admin, tmp_path: Path) -> None:
    create(admin, shell.settings.input_topic)  # with the producers' timestamps
    topics = Topics(shell)
    assert shell("topics").returncode == 0
    at_ms = round(time.time() * 1000) - 7000
    bad: list[Sent] = [
        (0, b"s-1", b"\xff\x00not json\x1b[31m", OWN),
        (1, None, b"[]", []),
        (2, b"s-2", b'{"session_id": 1.5}', [("dlq.mine", b"kept")]),
        (2, b"", b"", OWN[:1]),
    ]
    for partition, key, value, headers in bad:
        topics.write(shell.settings.input_topic, value, key, headers, partition or 0, at_ms)

    def buried() -> list[dict[str, Any]]:
        return sorted(listed(shell), key=lambda one: (one["source_partition"], one["source_offset"]))

    first = Member("first", shell.given, tmp_path / "first.log")
    wait_until(lambda: len(listed(shell)) == 4, "all are dead letters")
    first.terminate()
    first.wait_exit()
    reasons = ["not_json", "not_an_object", "wrong_type", "not_json"]
    assert [one["reason"] for one in buried()] == reasons
    assert [base64.b64decode(one["value"]) for one in buried()] == [value for _, _, value, _ in bad]
    assert {one["source_timestamp"] for one in buried()} == {at_ms / 1000}
    table = shell("dlq", "list").stdout.decode()
    assert r"\xff\x00not json\x1b[31m" in table
    assert "\x1b" not in table
    assert f"{shell.settings.dlq_topic}: 4 dead letters, 4 chosen" in table

    sent = send_again(shell)
    assert "4 of 4 dead letters to send again" in sent
    assert "sent 4 dead letters again" in sent
    again = [(*one[:3], [*one[3], ("dlq.retries", b"1")]) for one in bad]
    assert sorted(input_of(shell), key=repr) == sorted([*bad, *again], key=repr)
    assert {message.timestamp()[1] for message in messages(shell.settings, shell.settings.input_topic)} == {at_ms}
    assert {one["sent_again"] for one in buried()} == {True}

    second = Member("second", shell.given, tmp_path / "second.log")
    wait_until(lambda: len(listed(shell)) == 8, "all are dead letters again")
    second.terminate()
    second.wait_exit()
    assert sorted((one["retries"], one["sent_again"]) for one in buried()) == [(0, True)] * 4 + [(1, False)] * 4
    assert "4 sent again before" in send_again(shell)
    thrice = [(*one[:3], [*one[3], ("dlq.retries", b"2")]) for one in bad]
    assert sorted(input_of(shell), key=repr) == sorted([*bad, *again, *thrice], key=repr)


def test_a_payload_that_can_be_read_by_now_becomes_context(shell: Shell, member: Member) -> None:
    topics = Topics(shell)
    now = time.time()

    def payload(text: str, **more: object) -> bytes:
        action = {"type": "click", "description": text, "canonical_url": "/"}
        return orjson.dumps({"session_id": "s", "forwarded_at": now - 5, "actions": [action], **more})

    home = murmur2(b"s", PARTITIONS)
    topics.write(shell.settings.input_topic, payload("live", user_id="u"), b"s", [], home)
    topics.bury(letter(0, home), payload("of the session's user"), b"s")
    topics.bury(letter(1, home), payload("late", forwarded_at=now - 9999), b"s")
    dry = send_again(shell, "--dry-run")
    assert "2 of 2 dead letters" in dry
    assert ["wrong_type", "2", "1", "0"] in [line.split() for line in dry.splitlines()]  # one would be late
    send_again(shell)

    def context() -> str:
        asked = shell("user", "u", "--json")
        return "".join(one["context"] for one in json.loads(asked.stdout)["sessions"]) if asked.stdout else ""

    wait_until(lambda: "of the session's user" in context(), "the letter is shown")
    assert "live" in context()
    assert "late" not in context()


def test_a_dry_run_changes_nothing(shell: Shell, topics: Topics) -> None:
    topics.bury(letter(0), b"{")
    for _ in range(2):
        dry = send_again(shell, "--dry-run")
        assert "1 of 1 dead letters" in dry
        assert "still unreadable" in dry
    assert input_of(shell) == []
    assert [one["sent_again"] for one in listed(shell)] == [False]


def test_each_is_sent_once_whatever_is_chosen_when(shell: Shell, topics: Topics) -> None:
    dice = random.Random(7)
    reasons = [dice.choice(["one", "two", "three"]) for _ in range(60)]
    for number, reason in enumerate(reasons):
        place = number % 2
        topics.bury(letter(number, place, reason=reason), str(number).encode(), partition=place)
    assert "0 of 60" in send_again(shell, "--since", "2099-01-01")
    assert f"sent {reasons.count('two')} " in send_again(shell, "--reason", "two")
    assert "sent 5 " in send_again(shell, "--limit", "5")
    assert "sent 1 " in send_again(shell, "--limit", "1", "--reason", "three", "--since", "1h")
    assert f"sent {60 - reasons.count('two') - 6} " in send_again(shell)
    assert "0 of 60 dead letters" in send_again(shell)
    for place in range(2):
        values = [int(value or b"") for partition, _, value, _ in input_of(shell) if partition == place]
        assert sorted(values) == list(range(place, 60, 2))
    assert "sent 60 " in send_again(shell, "--again")
    assert len(input_of(shell)) == 120
    assert len(listed(shell, "--reason", "one", "--reason", "two")) == 60 - reasons.count("three")
    newest = [one["source_offset"] for one in listed(shell, "--limit", "3")]
    assert len(newest) == 3
    assert min(newest) > 40  # some were written in the same millisecond


def test_what_cannot_be_sent_is_told(shell: Shell, topics: Topics) -> None:
    topics.bury(letter(0, value_omitted_bytes=9_000_000), None)
    topics.bury(letter(1, source_topic="another"), b"{}")
    topics.bury(letter(-1, -1, reason="too_large"), b"{}")
    topics.bury(letter(2), b"good")
    topics.bury(letter(2, source_timestamp_ms=5), b"once")
    topics.bury(letter(2, source_timestamp_ms=5), b"once")
    topics.bury(letter(3, 99), b"from a partition that is no more")
    topics.write(shell.settings.dlq_topic, b"no dead letter", None, [], 0)
    assert b"other records on it, no dead letters of this worker: 1" in shell("dlq", "list").stdout
    told = send_again(shell)
    for why in ("without the value", "of another input topic", "made of a record that is not", "twice on the topic"):
        assert f"not sent: 1 {why}" in told
    assert {value for _, _, value, _ in input_of(shell)} == {b"good", b"once", b"from a partition that is no more"}


def test_a_letter_that_the_broker_does_not_take_is_told_and_tried_again(shell: Shell, admin: Admin) -> None:
    create(admin, shell.settings.input_topic, max_message_bytes="10000")
    create(admin, shell.settings.dlq_topic)
    topics = Topics(shell)
    noise = random.Random(1).randbytes(20_000)
    for number, value in enumerate([b"small", noise, b"after"]):
        topics.bury(letter(number), value)
    told = send_again(shell, code=ExitCode.BAD_INPUT)
    assert "sent 2 dead letters" in told
    assert "not taken by the broker: 1\n  partition 0, offset 1: " in told
    assert [value for _, _, value, _ in input_of(shell)] == [b"small", b"after"]
    assert "1 of 3 dead letters" in send_again(shell, code=ExitCode.BAD_INPUT)


def test_what_is_delivered_is_kept_as_sent_when_a_retry_is_interrupted(
    shell: Shell, topics: Topics, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        topics.bury(letter(number), str(number).encode())
    settings = shell.settings
    dead_letters = find_topic(admin, settings, Role.DEAD_LETTERS)
    source = find_topic(admin, settings, Role.INPUT)
    group = RetryGroup(admin, settings, dead_letters)
    judge = Judge(source.name, newest_timestamp(admin, source), time.time(), 600.0, 60.0, append_time=False)
    assert judge.newest is None
    plan = plan_retry(read_letters(settings, dead_letters), Selection(), group.marks(), judge, again=False)
    monkeypatch.setattr(retry, "SETTLE_EVERY_S", -1.0)

    def interrupt(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retry.Retry(settings, dead_letters, source, plan, group).run(interrupt)
    assert len(input_of(shell)) == 3
    assert "1 of 4 dead letters" in send_again(shell, "--dry-run")


def test_a_topic_that_is_missing_is_told(shell: Shell, admin: Admin) -> None:
    for command in ("list", "retry"):
        assert shell("dlq", command).returncode == ExitCode.TOPIC_MISSING
    create(admin, shell.settings.dlq_topic)
    assert shell("dlq", "list").returncode == 0
    assert shell("dlq", "retry").returncode == ExitCode.TOPIC_MISSING
    assert shell("dlq", "list", "--since", "soon").returncode == ExitCode.USAGE
