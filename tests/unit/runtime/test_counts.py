"""What the stages leave out is counted once, and a restore does not count it again."""

from __future__ import annotations

from tests.unit.runtime.member import FakeMember, new_broker, send


def test_a_late_payload_is_counted_once_also_by_the_next_owner() -> None:
    broker = new_broker()
    first = FakeMember(broker)
    first.settle()
    send(broker, text="now")
    first.settle()
    send(broker, text="long ago", at=broker.clock.wall() - 3600)
    first.settle()
    assert first.count("stage", "late") == 1
    first.loop.stop()
    first.loop.work()
    second = FakeMember(broker)
    second.settle()
    assert second.count("stage", "late") == 0


def test_a_switch_of_users_within_a_session_is_counted() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.settle()
    send(broker, user="amelie")
    send(broker, user="bruno")
    member.settle()
    assert member.count("stage", "users_switched") == 1
