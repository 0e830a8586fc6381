"""The rights that `topics --acls` prints: enough for everybody's work, and none of them too many."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable

import pytest
from confluent_kafka.admin import AclBinding, AclOperation  # type: ignore[attr-defined] # re-exported without saying so

from schemas.dead_letter import DeadLetter
from tests.acceptance.records import Sent
from tests.acceptance.topic_log import Feed, read_topic
from tests.integration.guarded import MakeGuarded
from worker import UserContextView
from worker.acls import Purpose
from worker.erasure import write_reset
from worker.errors import ExitCode, Fatal
from worker.kafka import Admin, ResourceType
from worker.topic_policy import Role
from worker.topics import ensure_topics, find_topic


def payload(session: str, user: str) -> bytes:
    action = {"type": "click", "description": f"seen of {user}", "canonical_url": "/", "index": 0}
    document = {"session_id": session, "user_id": user, "forwarded_at": time.time(), "actions": [action]}
    return json.dumps(document).encode() + b"\n"


def test_everybody_can_do_their_work_with_exactly_these_rights(
    make_guarded: MakeGuarded, unique: Callable[[str], str]
) -> None:
    guarded = make_guarded(session_output_topic=unique("sessions"))
    bench = guarded.bench
    member = guarded.start("one", guarded.login(Purpose.RUN))
    bench.group.wait_for(lambda: "assigned" in member.log, "the member has partitions", timeout_s=40)
    assert "was not verified" not in member.log
    guarded.run_as(Purpose.PRODUCE, "produce", "-", stdin=payload("s1", "alice") + payload("s2", "bob"))
    bench.send("s4", None, "a visitor")
    bench.send_raw(b"s3", b"no JSON")
    bench.wait_for_texts({"alice": ["seen of alice"], "bob": ["seen of bob"]})
    assert any(read_topic(bench.bootstrap, guarded.settings.session_output_topic).values())
    assert b"seen of alice" in guarded.run_as(Purpose.READ, "user", "alice")

    assert b"is erased" in guarded.run_as(Purpose.OPERATE, "reset-user", "alice", "--yes")
    bench.group.wait_for(lambda: bool(bench.dead_letters()), "a dead letter", timeout_s=20)
    assert json.loads(guarded.run_as(Purpose.OPERATE, "status", "--json"))["members"]
    guarded.run_as(Purpose.OPERATE, "dlq", "retry", "--yes")
    bench.stop(member, signal.SIGTERM, within_s=20)
    guarded.run_as(Purpose.OPERATE, "replay", "--from", "beginning", "--yes")
    assert bench.texts() == {"bob": ["seen of bob"]}


def test_they_are_enough_for_exactly_once_and_the_other_protocol_too(make_guarded: MakeGuarded) -> None:
    guarded = make_guarded(processing_guarantee="exactly_once", group_protocol="consumer")
    member = guarded.start("one", guarded.certified_member(), bootstrap_servers=guarded.broker.mtls)
    guarded.bench.group.wait_for(lambda: "assigned" in member.log, "the member has partitions", timeout_s=40)
    guarded.bench.send_raw(b"s1", payload("s1", "alice"))
    guarded.bench.send_raw(b"s3", b"no JSON")
    guarded.bench.wait_for_texts({"alice": ["seen of alice"]})
    guarded.bench.group.wait_for(lambda: bool(guarded.bench.dead_letters()), "a dead letter", timeout_s=20)
    guarded.bench.stop(member, signal.SIGTERM, within_s=20)


# --- none is too many ---


def refusal(call: Callable[[], object]) -> str:
    """What it says when it is not allowed."""
    with pytest.raises(Fatal) as raised:
        call()
    assert raised.value.exit_code is ExitCode.NOT_AUTHORIZED, str(raised.value)
    return str(raised.value)


def operation(binding: AclBinding) -> AclOperation:
    assert isinstance(binding.operation, AclOperation)
    return binding.operation


def test_without_any_one_of_them_a_start_says_which_is_missing(make_guarded: MakeGuarded) -> None:
    guarded = make_guarded()
    settings = guarded.settings_of(Purpose.RUN)

    def start() -> tuple[str, ...]:
        return ensure_topics(Admin(settings), settings).warnings

    on_topics = [one for one in guarded.bindings(Purpose.RUN) if one.restype is ResourceType.TOPIC]
    creating = [one for one in on_topics if operation(one) is AclOperation.CREATE]
    assert len(creating) == 3
    for right in creating:
        with guarded.without(right):
            assert f"no right to create topic {right.name}" in refusal(start)
        guarded.delete_topics(*(one.name for one in creating))
    assert not [warning for warning in start() if "verified" in warning]
    for right in on_topics:
        with guarded.without(right):
            if operation(right) in {AclOperation.READ, AclOperation.WRITE}:
                assert f"no right to {operation(right).name.lower()} topic {right.name}" in refusal(start)
            elif operation(right) is AclOperation.DESCRIBE_CONFIGS:
                assert [
                    warning for warning in start() if f"{right.name}: its configuration was not verified" in warning
                ]


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_without_the_right_to_its_group_or_its_transactions_a_member_ends(
    make_guarded: MakeGuarded, guarantee: str
) -> None:
    guarded = make_guarded(processing_guarantee=guarantee)
    login = guarded.login(Purpose.RUN)
    kind = ResourceType.TRANSACTIONAL_ID if guarantee == "exactly_once" else ResourceType.GROUP
    (right,) = [one for one in guarded.bindings(Purpose.RUN) if one.restype is kind]
    with guarded.without(right):
        member = guarded.start("one", login)
        guarded.bench.group.expect_exit(member)
        member.wait_exit(ExitCode.NOT_AUTHORIZED, timeout_s=20)
    assert "authorization failed" in member.log
    assert "topics --acls" in member.log


def test_the_others_have_none_too_many_either(make_guarded: MakeGuarded) -> None:
    guarded = make_guarded()
    ensure_topics(Admin(guarded.settings), guarded.settings)
    topics = {role.value: str(getattr(guarded.settings, role.value)) for role in Role}

    def read() -> None:
        given = guarded.settings_of(Purpose.READ)
        with UserContextView(given.bootstrap_servers, given.output_topic, kafka=guarded.login(Purpose.READ)) as view:
            view.wait_ready(30)

    def produce() -> None:
        find_topic(Admin(guarded.settings_of(Purpose.PRODUCE)), guarded.settings, Role.INPUT)

    def erase() -> None:
        write_reset(guarded.settings_of(Purpose.ERASE), "alice")

    [_, *rights] = guarded.bindings(Purpose.ERASE)  # the first is a reader's
    guarded.login(Purpose.ERASE)
    erase()
    with guarded.without(*rights):
        assert topics["repartition_topic"] in refusal(erase)

    for purpose, use, topic in ((Purpose.READ, read, "output_topic"), (Purpose.PRODUCE, produce, "input_topic")):
        use_right = guarded.bindings(purpose)
        assert [one.name for one in use_right] == [topics[topic]]
        guarded.login(purpose)
        use()
        with guarded.without(*use_right):
            assert topics[topic] in refusal(use)


def test_an_operator_needs_what_is_listed(make_guarded: MakeGuarded) -> None:
    guarded = make_guarded()
    settings = guarded.settings
    ensure_topics(Admin(settings), settings)
    letter = DeadLetter("not_json", "", settings.input_topic, 0, 0, None, "1")
    with Feed(settings.bootstrap_servers, settings.dlq_topic) as feed:
        feed.send([Sent(0, b"s", b"no JSON", tuple(letter.to_headers()), 0)])
    variables = guarded.variables(guarded.login(Purpose.OPERATE))
    for command, wanted, name in (
        ("dlq list", AclOperation.READ, settings.dlq_topic),
        ("dlq retry --yes", AclOperation.READ, f"{settings.group_id}-dlq-retry"),
        ("dlq retry --yes", AclOperation.WRITE, settings.input_topic),
        ("reset-user alice --yes", AclOperation.READ, settings.output_topic),
    ):
        rights = guarded.bindings(Purpose.OPERATE)
        (right,) = [one for one in rights if one.name == name and operation(one) is wanted]
        with guarded.without(right):
            done = guarded.command(variables, *command.split())
        assert done.returncode == ExitCode.NOT_AUTHORIZED, (command, name, done.stderr.decode())
        assert name.encode() in done.stderr
