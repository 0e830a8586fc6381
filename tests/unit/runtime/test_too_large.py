"""A record that is too large for its topic, and what its dead letter says of where it came from."""

from __future__ import annotations

from tests.unit.runtime.member import HOP, INPUT, OUTPUT, FakeMember, dead_letters, new_broker, records, send


def test_a_users_record_that_does_not_fit_does_not_pretend_to_lie_in_the_input() -> None:
    broker = new_broker()
    member = FakeMember(broker, limits={OUTPUT: 2000})
    member.settle()
    send(broker, user="u" * 1900)
    member.settle()
    ((letter, _, _),) = dead_letters(broker)
    assert (letter.reason, letter.source_partition, letter.source_offset) == ("too_large", -1, -1)


def test_ids_that_do_not_fit_are_a_dead_letter_with_its_bytes_and_take_nobody_along() -> None:
    broker = new_broker()
    member = FakeMember(broker, limits={HOP: 2000})
    member.settle()
    for number, user in enumerate(["amelie", "u" * 1900, "ben"]):
        send(broker, f"ps_{number}", user)
    member.turn(3)
    ((letter, _, value),) = dead_letters(broker)
    assert (letter.reason, letter.source_offset) == ("too_large", 1)
    assert value == broker.records(INPUT)[1].value()
    assert set(records(broker)) == {"amelie", "ben"}
