"""The view on a real broker: end to end, over restarts, compaction, growth, and topics that come, go and come again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from schemas import UserContext
from tests.acceptance.members import Member
from tests.brokers import MavenKafka
from tests.integration.shell import PARTITIONS, Shell, create, wait_until
from tests.payloads import payload
from tests.user_records import record
from worker import ActionsPublisher, AsyncUserContextView, UserContextView
from worker.errors import ExitCode, Fatal
from worker.kafka import Admin, NewPartitions, Producer, murmur2
from worker.settings import Settings
from worker.view import NotInShare, NotReady, ViewStatus

READY_S = 30.0


class Writer:
    """Writes records to the output topic as a member would, or as it should not."""

    def __init__(self, settings: Settings) -> None:
        config = {"bootstrap.servers": settings.bootstrap_servers, "log_level": 0, "partitioner": "murmur2_random"}
        self._producer = Producer(config)
        self._topic = settings.output_topic

    def raw(self, user: str, value: bytes | None) -> None:
        self._producer.produce(self._topic, value, user)

    def write(self, user: str, *versions: int | None) -> None:
        for version in versions:
            self.raw(user, None if version is None else record(user, version, at=time.time()))

    def flush(self) -> None:
        assert self._producer.flush(30) == 0


@pytest.fixture
def writer(shell: Shell, admin: Admin) -> Writer:
    create(admin, shell.settings.output_topic)
    return Writer(shell.settings)


@pytest.fixture
def view_of(shell: Shell) -> Iterator[Callable[..., UserContextView]]:
    with contextlib.ExitStack() as stack:

        def open_one(settings: Settings = shell.settings, **more: object) -> UserContextView:
            view = UserContextView(settings.bootstrap_servers, settings.output_topic, **more)  # type: ignore[arg-type]
            return stack.enter_context(view)

        yield open_one


def version(view: UserContextView, user: str) -> int | None:
    found = view.get(user)
    return None if found is None else found.version


def wait_for(view: UserContextView, user: str, expected: int | None) -> None:
    wait_until(lambda: version(view, user) == expected, f"{user} has version {expected}")


# --- end to end ---


def test_what_somebody_does_is_in_the_next_prompt(
    shell: Shell, member: Member, view_of: Callable[..., UserContextView]
) -> None:
    view = view_of()
    view.wait_ready(READY_S)
    changes: list[tuple[str, UserContext | None]] = []
    view.on_change(lambda user, context: changes.append((user, context)))
    with ActionsPublisher(shell.settings.bootstrap_servers, shell.settings.input_topic) as publisher:
        publisher.add(payload("before signing in", session="s", user=None, at=time.time()))
        publisher.add(payload("opened Billing", session="s", user="alice", email="alice@example.com", at=time.time()))
    wait_until(lambda: "opened Billing" in view.get_user_activity("alice"), "alice is known")
    prompt = view.enrich("alice", "How do I add a seat?")
    assert prompt.startswith(
        "[Session context]\nSession s (acme):\nRecent activity:\n1. [0] pageview: before signing in"
    )
    assert prompt.endswith("[Query]\nHow do I add a seat?")
    assert view.get_email("alice") == "alice@example.com"
    assert [user for user, _ in changes] == ["alice"] * len(changes)
    assert shell("reset-user", "alice", "--yes").returncode == 0
    wait_until(lambda: view.get("alice") is None, "alice is forgotten")
    wait_until(lambda: changes[-1] == ("alice", None), "it is told")
    assert view.status is ViewStatus.CAUGHT_UP


def test_neither_a_shared_session_nor_a_shared_session_id_leaks(
    shell: Shell, member: Member, view_of: Callable[..., UserContextView]
) -> None:
    """Two people at one screen, and two products that count their sessions alike."""
    view = view_of()
    view.wait_ready(READY_S)
    with ActionsPublisher(shell.settings.bootstrap_servers, shell.settings.input_topic) as publisher:
        for number in range(10):
            for user, product in (("ann", "acme"), ("bob", "acme"), ("ann", "beta")):
                text = f"{user} in {product} {number}"
                publisher.add(payload(text, session="shared", product=product, user=user, at=time.time()))
    for user, product, count in (("ann", "acme", 10), ("bob", "acme", 10), ("ann", "beta", 10)):
        text = f"{user} in {product} 9"
        wait_until(lambda user=user, text=text: text in view.get_user_activity(user), f"{text} has come")  # type: ignore[misc]
        told = view.get_user_activity(user, product)
        assert told.count(f"{user} in {product}") == count
        assert told == view.enrich(user, "q", product).removeprefix("[Session context]\n").removesuffix(
            "\n\n[Query]\nq"
        )
        assert told.count(" in ") == count
    assert "ann" not in view.get_user_activity("bob")
    assert "bob" not in view.get_user_activity("ann")


def test_a_chat_service_on_asyncio_follows_a_user(shell: Shell, writer: Writer) -> None:
    async def scenario() -> list[int | None]:
        seen: list[int | None] = []
        settings = shell.settings
        async with AsyncUserContextView(settings.bootstrap_servers, settings.output_topic) as view:
            await view.wait_ready(READY_S)
            async with asyncio.timeout(READY_S):
                async for context in view.changes("u"):
                    seen.append(None if context is None else context.version)
                    if len(seen) == 4:
                        return seen
                    writer.write("other", 1)
                    writer.write("u", None if len(seen) == 3 else len(seen))
                    await asyncio.to_thread(writer.flush)
        return seen

    assert asyncio.run(scenario()) == [None, 1, 2, None]


# --- the log ---


def test_every_record_of_the_log_counts_as_the_contract_says(
    writer: Writer, view_of: Callable[..., UserContextView]
) -> None:
    writer.write("newest", 3, 8, 5)
    writer.write("gone", 3, None)
    writer.write("again", 9, None, 1)
    writer.write("broken", 3)
    writer.raw("broken", b"nope")
    writer.write("somebody's", 3)
    writer.raw("somebody's", record("else", 4, at=time.time()))
    writer.raw(
        "newer", record("newer", 2, at=time.time()).replace(b'"schema_version":1', b'"schema_version":2,"x":[1]')
    )
    writer.flush()
    view = view_of()
    view.wait_ready(READY_S)
    users = ("newest", "gone", "again", "broken", "somebody's", "newer", "else")
    assert {user: version(view, user) for user in users if view.get(user)} == {"newest": 8, "again": 1, "newer": 2}
    stats = view.stats
    assert (stats.users, stats.tombstones, stats.undecodable, stats.superseded, stats.newer_schema) == (3, 2, 2, 1, 1)
    assert (view.status, stats.trouble) == (ViewStatus.CAUGHT_UP, "")


def test_a_compacted_topic_gives_the_same_view(
    shell: Shell, admin: Admin, view_of: Callable[..., UserContextView]
) -> None:
    topic = shell.settings.output_topic
    quickly = {"segment_ms": "100", "min_cleanable_dirty_ratio": "0.01", "max_compaction_lag_ms": "100"}
    create(admin, topic, cleanup_policy="compact", delete_retention_ms="0", **quickly)
    writer = Writer(shell.settings)
    follows = view_of()
    follows.wait_ready(READY_S)
    for round_ in range(20):
        for number in range(10):
            writer.write(f"u{number}", None if number >= 8 and round_ == 19 else 10 * round_ + number)
        writer.flush()
    expected = {f"u{number}": 190 + number for number in range(8)}

    def records_left() -> int:
        late = view_of()
        late.wait_ready(READY_S)
        assert {f"u{number}": version(late, f"u{number}") for number in range(8)} == expected
        assert late.stats.users == 8
        late.close()
        return late.stats.records

    def is_compacted() -> bool:
        writer.write("u0", 190)  # a partition's last segment is compacted when there is another one
        writer.write("u1", 191)
        writer.flush()
        return records_left() < 150

    wait_until(is_compacted, "the topic is compacted", timeout_s=60)
    wait_for(follows, "u7", 197)
    assert follows.stats.users == 8


def test_a_share_is_what_java_would_put_there(writer: Writer, view_of: Callable[..., UserContextView]) -> None:
    users = [f"user-{number}" for number in range(100)]
    for user in users:
        writer.write(user, 1)
    writer.flush()
    view = view_of(partitions={0, 2})
    view.wait_ready(READY_S)
    for user in users:
        if murmur2(user.encode(), PARTITIONS) in {0, 2}:
            assert version(view, user) == 1
        else:
            with pytest.raises(NotInShare):
                view.get(user)


# --- what the broker does meanwhile ---


def test_restarts_of_the_broker_are_waited_for_and_nothing_is_missed(
    private_kafka: MavenKafka, unique: Callable[[str], str], view_of: Callable[..., UserContextView]
) -> None:
    settings = Settings(bootstrap_servers=private_kafka.bootstrap_servers, output_topic=unique("context"))
    create(Admin(settings), settings.output_topic)
    writer = Writer(settings)
    view = view_of(settings)
    view.wait_ready(READY_S)
    writer.write("u", 1)
    writer.flush()
    wait_for(view, "u", 1)
    for number, halt in enumerate((private_kafka.stop, private_kafka.kill), start=2):
        halt()
        wait_until(lambda: view.status is ViewStatus.DEGRADED, "it says that it may miss something")
        assert version(view, "u") == number - 1
        assert view.stats.trouble
        private_kafka.start()
        writer.write("u", number)
        writer.flush()
        wait_for(view, "u", number)
        wait_until(lambda: view.status is ViewStatus.CAUGHT_UP, "it says that all is well")
    private_kafka.pause()
    wait_until(lambda: view.status is ViewStatus.DEGRADED, "silence is noticed")
    private_kafka.resume()
    wait_until(lambda: view.status is ViewStatus.CAUGHT_UP, "and its end")
    assert view.stats.trouble == ""


def test_a_topic_that_is_deleted_and_made_anew_is_read_anew(
    shell: Shell, admin: Admin, writer: Writer, view_of: Callable[..., UserContextView]
) -> None:
    writer.write("kept", 50)
    writer.write("gone", 51)
    writer.flush()
    view = view_of()
    view.wait_ready(READY_S)
    admin.delete_topics([shell.settings.output_topic])[shell.settings.output_topic].result()
    wait_until(lambda: view.status is ViewStatus.DEGRADED, "it says that it may miss something")
    assert version(view, "gone") == 51
    create(admin, shell.settings.output_topic)
    again = Writer(shell.settings)
    again.write("kept", 1)
    again.flush()
    wait_for(view, "kept", 1)
    wait_for(view, "gone", None)
    wait_until(lambda: view.status is ViewStatus.CAUGHT_UP, "it says that all is well")


def test_new_partitions_are_read(
    shell: Shell, admin: Admin, writer: Writer, view_of: Callable[..., UserContextView]
) -> None:
    view = view_of(kafka={"topic.metadata.refresh.interval.ms": "500"})
    view.wait_ready(READY_S)
    grown = 3 * PARTITIONS
    admin.create_partitions([NewPartitions(shell.settings.output_topic, grown)])[shell.settings.output_topic].result()
    wait_until(lambda: view.stats.partitions == grown, "they are found")
    user = next(f"u{n}" for n in range(1000) if murmur2(f"u{n}".encode(), grown) >= PARTITIONS)
    later = Writer(shell.settings)
    later.write(user, 1)
    later.flush()
    wait_for(view, user, 1)
    wait_until(lambda: view.status is ViewStatus.CAUGHT_UP, "it says that all is well")


def test_a_chat_service_may_start_first(shell: Shell, admin: Admin, view_of: Callable[..., UserContextView]) -> None:
    view = view_of()
    with pytest.raises(NotReady, match="there is no topic"):
        view.wait_ready(4)
    assert view.status is ViewStatus.LOADING
    create(admin, shell.settings.output_topic)
    writer = Writer(shell.settings)
    writer.write("u", 1)
    writer.flush()
    view.wait_ready(READY_S)
    wait_for(view, "u", 1)


def test_a_wrong_property_is_told(shell: Shell, view_of: Callable[..., UserContextView]) -> None:
    view = view_of(kafka={"fetch.wait.max.mss": "5"})
    with pytest.raises(Fatal, match=r"fetch\.wait\.max\.ms\?") as raised:
        view.wait_ready(READY_S)
    assert raised.value.exit_code is ExitCode.USAGE
