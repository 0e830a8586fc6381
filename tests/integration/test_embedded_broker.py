"""The embedded broker, by both ways in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from worker.demo import embedded_broker
from worker.demo.embedded_broker import ConfiguredBroker, EmbeddedBroker, LibraryBroker, find_client_library
from worker.demo.topics import INPUT, PARTITIONS, Follower, Read, Sender

pytestmark = pytest.mark.embedded


@pytest.fixture(params=[LibraryBroker, ConfiguredBroker])
def broker(request: pytest.FixtureRequest) -> Iterator[EmbeddedBroker]:
    arguments = [find_client_library()] if request.param is LibraryBroker else []
    with closing(request.param(*arguments)) as opened:
        yield opened


def test_what_is_sent_can_be_read(broker: EmbeddedBroker, capfd: pytest.CaptureFixture[str]) -> None:
    broker.create_topic(INPUT, PARTITIONS)
    delivered: list[Read] = []
    sender = Sender(broker.bootstrap_servers, delivered.append)
    for number in range(20):
        sender.send(f"s-{number}", b"%d" % number)
    while len(delivered) < 20:
        sender.poll()
    follower = Follower(broker.bootstrap_servers, INPUT)
    read = follower.read_to_end()
    follower.close()
    sender.close()

    assert sorted(read) == sorted(delivered)
    assert {record.partition for record in read} == set(range(PARTITIONS))
    assert sorted((record.key, record.value) for record in read) == sorted(
        (b"s-%d" % number, b"%d" % number) for number in range(20)
    )
    assert capfd.readouterr() == ("", "")


def test_an_empty_topic_is_read_at_once(broker: EmbeddedBroker) -> None:
    broker.create_topic(INPUT, PARTITIONS)
    follower = Follower(broker.bootstrap_servers, INPUT)

    assert follower.read_to_end() == []
    follower.close()


def test_closing_twice_does_no_harm(broker: EmbeddedBroker) -> None:
    broker.close()
    broker.close()


def test_the_library_gives_a_topic_the_partitions_that_are_asked_for() -> None:
    with closing(LibraryBroker(find_client_library())) as broker:
        broker.create_topic("six", 6)

        with pytest.raises(RuntimeError, match="refused the topic six"):
            broker.create_topic("six", 6)


def test_the_settings_give_every_topic_four_partitions() -> None:
    with closing(ConfiguredBroker()) as broker, pytest.raises(ValueError, match="4 partitions, not 6"):
        broker.create_topic("six", 6)


@pytest.mark.parametrize("problem", [OSError("no library"), AttributeError("no mock cluster in it")])
def test_without_the_library_the_settings_are_used(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def fail() -> str:
        raise problem

    monkeypatch.setattr(embedded_broker, "find_client_library", fail)
    with closing(embedded_broker.start_embedded_broker()) as broker:
        assert isinstance(broker, ConfiguredBroker)


def test_where_the_library_is_found_it_is_used() -> None:
    with closing(embedded_broker.start_embedded_broker()) as broker:
        assert isinstance(broker, LibraryBroker)
