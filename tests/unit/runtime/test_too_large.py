"""A record that is too large for its topic, and what its dead letter says of where it came from."""

from __future__ import annotations

from tests.unit.runtime.member import OUTPUT, FakeMember, dead_letters, new_broker, send


def test_a_users_record_that_does_not_fit_does_not_pretend_to_lie_in_the_input() -> None:
    broker = new_broker()
    member = FakeMember(broker, limits={OUTPUT: 2000})
    member.settle()
    send(broker, user="u" * 1900)
    member.settle()
    ((letter, _, _),) = dead_letters(broker)
    assert (letter.reason, letter.source_partition, letter.source_offset) == ("too_large", -1, -1)
