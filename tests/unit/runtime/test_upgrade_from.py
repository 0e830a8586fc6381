"""While a group is upgraded from a version that knows form 1 only, its members write that."""

from __future__ import annotations

from tests.unit.runtime.member import HOP, INPUT, FakeMember, dead_letters, new_broker, send, texts


def test_each_payload_travels_alone_in_form_1_under_its_user() -> None:
    broker = new_broker()
    member = FakeMember(broker, upgrade_from="1")
    member.settle()
    for user in ("alice", "bob", "alice"):
        send(broker, f"ps_{user}", user, text="say “no”")
    member.settle()
    sent = [(message.key(), (message.value() or b"")[:2]) for message in broker.records(HOP)]
    assert sent == [(user, b"\x9a\x01") for user in (b"alice", b"bob", b"alice")]
    assert len(texts(broker, "alice")) == 2


def test_what_the_topic_refuses_is_a_dead_letter_as_ever() -> None:
    broker = new_broker()
    member = FakeMember(broker, upgrade_from="1", limits={HOP: 1000})
    member.settle()
    send(broker, "ps_1", "alice", text="x" * 2000)
    member.settle()
    ((letter, _, original),) = dead_letters(broker)
    assert letter.reason == "too_large"
    assert original == broker.records(INPUT)[0].value()
