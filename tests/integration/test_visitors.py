"""Visitors on a real broker: seen before they sign in, followed after it, forgotten in time; and nobody else's."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.user_context import KnownSession
from tests.acceptance.members import Member
from tests.acceptance.topic_log import newest_by_key, read_topic
from tests.integration.running import Bench, MakeBench
from tests.integration.shell import Shell, wait_until
from tests.integration.test_serve import Served
from tests.payloads import payload
from tests.properties import batch_fold
from worker import ActionsPublisher, UserContextView
from worker.kafka import Admin, ConfigResource, Producer, ResourceType
from worker.settings import Settings
from worker.testing import Record

READY_S = 30.0
LOOKBACK_S = 6
SESSIONS = 60
GUARANTEES = pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])


@pytest.fixture
def shell(kafka: str, unique: Callable[[str], str]) -> Shell:
    names = {name: unique(name.split("_")[0]) for name in ("input_topic", "output_topic", "dlq_topic")}
    return Shell(
        Settings(bootstrap_servers=kafka, group_id=unique("group"), session_output_topic=unique("sessions"), **names)
    )


def visitors(bench: Bench) -> dict[str, dict[str, Any] | None]:
    """The newest record of every session id, for who reads what is committed."""
    newest = newest_by_key(read_topic(bench.bootstrap, str(bench.settings["session_output_topic"])))
    return {
        (key or b"").decode(): None if record.value is None else json.loads(record.value)
        for key, record in newest.items()
    }


def visitor(bench: Bench, session: str) -> dict[str, Any]:
    return visitors(bench).get(session) or {}


def view_of(bench: Bench) -> UserContextView:
    topics = str(bench.settings["output_topic"]), str(bench.settings["session_output_topic"])
    return UserContextView(bench.bootstrap, topics[0], session_topic=topics[1])


def lines(session: KnownSession | None) -> list[str]:
    return [] if session is None else [line.split(": ")[1].split(" — ")[0] for line in session.context.split("\n")[1:]]


@GUARANTEES
def test_a_visitor_is_seen_signs_in_is_followed_and_forgotten(
    make_bench: MakeBench, unique: Callable[[str], str], guarantee: str
) -> None:
    bench = make_bench(
        session_output_topic=unique("sessions"),
        lookback_seconds=LOOKBACK_S,
        idle_after_s=1,
        processing_guarantee=guarantee,
    )
    bench.start("one")
    with view_of(bench) as view:
        view.wait_ready(READY_S)
        bench.send("ps_1", None, "Look around")
        bench.send("ps_2", None, "Leave")
        wait_until(lambda: lines(view.get_session("ps_1")) == ["Look around"], "the visitor is seen")
        wait_until(lambda: view.get_session("ps_2") is not None, "the other one, too")
        assert bench.records() == {}
        bench.send("ps_1", "amelie", "Sign in")
        wait_until(lambda: lines(view.get_session("ps_1")) == ["Look around", "Sign in"], "it is followed")
        found = view.get_session("ps_1")
        assert found is not None
        assert found.user_id == "amelie"
        record = visitor(bench, "ps_1")
        assert (record["linked_user_id"], record["sessions"]) == ("amelie", [])
        wait_until(lambda: visitors(bench) == {"ps_1": None, "ps_2": None}, "both are forgotten")
        assert view.get_session("ps_1") is None
        wait_until(lambda: view.stats.sessions == 0, "the view holds nothing any more")


@GUARANTEES
def test_whoever_takes_over_publishes_the_visitors_again(
    make_bench: MakeBench, unique: Callable[[str], str], guarantee: str
) -> None:
    bench = make_bench(session_output_topic=unique("sessions"), processing_guarantee=guarantee)
    first = bench.start("first")
    for number in range(20):
        bench.send(f"ps_{number}", None, "Look around")
        bench.send(f"known_{number}", f"user_{number}", "Work")
    bench.wait_committed()
    before = visitors(bench)
    assert len(before) == 40
    topic = str(bench.settings["session_output_topic"])
    spoilt = Producer({"bootstrap.servers": bench.bootstrap, "partitioner": "murmur2_random", "log_level": 0})
    for session in before:
        spoilt.produce(topic, None, session)  # as a stopped member's last words
    assert spoilt.flush(30) == 0
    assert set(visitors(bench).values()) == {None}
    bench.group.excuse(first)
    first.kill()
    bench.start("second")
    wait_until(lambda: visitors(bench) == before, "all are there again", timeout_s=60)


@GUARANTEES
def test_members_come_and_go_and_the_records_are_the_batch_fold_of_the_input(
    make_bench: MakeBench, unique: Callable[[str], str], guarantee: str
) -> None:
    """Two sessions in three are linked on the way, by one user or by two."""
    bench = make_bench(
        partitions=4, session_output_topic=unique("sessions"), processing_guarantee=guarantee, expire_idle_users=False
    )
    sent = itertools.count()

    def send(payloads: int) -> None:
        for number in itertools.islice(sent, payloads):
            session, turn = number % SESSIONS, number // SESSIONS
            user = f"user_{session}_{turn // 4}" if session % 3 and turn > session % 7 else None
            bench.send(f"ps_{session}", user if turn % 2 else None, f"source 0/{number}/")
        bench.feed.flush()

    first = bench.start("first")
    send(3 * SESSIONS)
    second = bench.start("second")
    send(3 * SESSIONS)
    bench.group.excuse(first)
    first.kill()
    send(3 * SESSIONS)
    bench.start("third")
    send(2 * SESSIONS)
    bench.stop(second, signal.SIGTERM, within_s=20)
    send(SESSIONS)
    bench.wait_committed()
    expected: dict[str, dict[str, Any] | None] = {}
    for partition, log in bench.input().items():
        records = [Record(partition, one.offset, one.timestamp_ms / 1000, one.key, one.value) for one in log]
        expected |= batch_fold.visitors(records, Settings())
    assert len(expected) == SESSIONS
    assert {bool(record and record["linked_user_id"]) for record in expected.values()} == {True, False}

    def newest() -> dict[str, dict[str, Any] | None]:
        found = visitors(bench)
        for record in found.values():
            if record is not None and not record["sessions"]:  # its times are those of the moment it was written
                del record["updated_at"], record["expires_at"]
        return found

    wait_until(lambda: newest() == expected, "all records are right", timeout_s=30)


def test_the_topic_is_made_as_it_has_to_be(shell: Shell, admin: Admin) -> None:
    assert shell("topics", "--input-partitions", "4").returncode == 0
    topic = shell.settings.session_output_topic
    resource = ConfigResource(ResourceType.TOPIC, topic)
    config = admin.describe_configs([resource])[resource].result(10)
    assert config["cleanup.policy"].value == "compact"
    assert config["message.timestamp.type"].value == "LogAppendTime"
    done = shell("topics")
    assert done.returncode == 0
    assert topic.encode() in done.stdout


def test_a_replay_clears_the_sessions_that_it_does_not_rebuild(
    make_bench: MakeBench, unique: Callable[[str], str]
) -> None:
    bench = make_bench(session_output_topic=unique("sessions"))
    member = bench.start("one")
    bench.send("ps_1", None, "Look around")
    bench.send("ps_2", "amelie", "Work")
    bench.wait_committed()
    before = visitors(bench)
    bench.group.dismiss(member)
    member.wait_exit()
    topic = str(bench.settings["session_output_topic"])
    other = Producer({"bootstrap.servers": bench.bootstrap, "partitioner": "murmur2_random", "log_level": 0})
    other.produce(topic, json.dumps({**visitor(bench, "ps_1"), "session_id": "gone"}).encode(), "gone")
    assert other.flush(30) == 0
    done = bench.command("replay", "--from", "beginning", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"3 sessions known on {topic}" in done.stdout
    assert visitors(bench) == {**before, "gone": None}


# --- isolation --------------------------------------------------------------------------------------------------------


@pytest.fixture
def served(shell: Shell, member: Member, tmp_path: Path) -> Iterator[Served]:
    one = Served(shell, tmp_path / "serve.log", {})
    wait_until(one.is_ready, "it is ready")
    yield one
    one.client.close()
    one.process.kill()
    one.process.wait()


def test_neither_a_shared_session_nor_a_shared_session_id_leaks(shell: Shell, served: Served) -> None:
    """Two people at one screen; and two products that count their sessions alike, in one of which nobody signs in."""
    settings, count = shell.settings, 10
    topics = settings.output_topic, settings.session_output_topic
    asked = ("acme", "beta", None)
    seen: dict[tuple[str | None, str | None], set[str]] = {}

    def look(view: UserContextView) -> None:
        for product in asked:
            found = view.get_session("shared", product)
            if found is not None:
                seen.setdefault((found.product_id, found.user_id), set()).update(lines(found))
            answer = served.client.get("/sessions/shared", params={"product_id": product} if product else {})
            assert answer.status_code in {200, 404}
            if answer.status_code == 200:
                known = KnownSession.model_validate(answer.json())
                seen.setdefault((known.product_id, known.user_id), set()).update(lines(known))

    with (
        UserContextView(settings.bootstrap_servers, topics[0], session_topic=topics[1]) as view,
        ActionsPublisher(settings.bootstrap_servers, settings.input_topic) as publisher,
    ):
        view.wait_ready(READY_S)
        for number in range(count):
            for user, product in (("ann", "acme"), (None, "beta"), ("bob", "acme")):
                text = f"{user} in {product} {number}"
                publisher.add(payload(text, session="shared", product=product, user=user, at=time.time()))
                publisher.flush()
                look(view)
        last = f"bob in acme {count - 1}"
        wait_until(lambda: last in lines(view.get_session("shared", "acme")), "the last one is known")
        wait_until(lambda: len(lines(view.get_session("shared", "beta"))) == count, "and the visitor")
        look(view)
        assert view.get_session("shared") is None, "several products have one"
    assert seen.keys() <= {("acme", "ann"), ("acme", "bob"), ("beta", None)}
    assert seen["beta", None] == {f"None in beta {number}" for number in range(count)}
    for user in ("ann", "bob"):
        told = seen.get(("acme", user), set())
        assert told <= {f"{user} in acme {number}" for number in range(count)}
    assert seen["acme", "bob"]
    log = served.log
    assert "shared" not in log
