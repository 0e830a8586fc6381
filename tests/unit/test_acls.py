"""What `topics --acls` says: no broker is asked, and every line can be pasted into a shell."""

from __future__ import annotations

import json
import shlex

import pytest

from worker.acls import WORK, Asked, Grant, Purpose, Resource, Right, acls_text, grants
from worker.errors import ExitCode, Fatal
from worker.settings import Settings
from worker.topic_policy import Role, names

ALL = Asked(acls=True, purpose=None, principal=None, json=False)


def held(purpose: Purpose, **settings: object) -> set[tuple[str, str, str]]:
    found = grants(purpose, Settings.model_validate({"group_id": "g", **settings}))
    assert len(found) == len(set(found))
    return {(grant.right.value, grant.resource.value, grant.name) for grant in found}


def test_a_reader_reads_the_output_and_nothing_else() -> None:
    assert held(Purpose.READ) == {("Read", "topic", "autoplay.user-context")}


def test_records_of_visitors_are_written_by_members_and_read_by_readers() -> None:
    topic = "sessions"
    assert ("Write", "topic", topic) in held(Purpose.RUN, session_output_topic=topic)
    assert ("Read", "topic", topic) not in held(Purpose.RUN, session_output_topic=topic)
    assert ("Read", "topic", topic) in held(Purpose.READ, session_output_topic=topic)


def test_who_sends_payloads_writes_the_input_and_nothing_else() -> None:
    assert held(Purpose.PRODUCE) == {("Write", "topic", "autoplay.actions")}


def test_a_member_never_writes_its_input_and_never_reads_what_it_only_writes() -> None:
    rights = held(Purpose.RUN)
    assert ("Write", "topic", "autoplay.actions") not in rights
    assert not {("Read", "topic", name) for name in ("autoplay.user-context", "autoplay.actions.dlq")} & rights
    assert ("Read", "group", "g") in rights
    assert not [right for right in rights if right[1] == "transactional-id"]


def test_a_member_creates_its_own_topics_only_and_only_if_it_may() -> None:
    settings = Settings(group_id="g")
    ours = {name for role, name in names(settings).items() if role.ours}
    assert {name for right, _, name in held(Purpose.RUN) if right == "Create"} == ours
    assert not [right for right in held(Purpose.RUN, create_topics=False) if right[0] == "Create"]
    assert settings.input_topic not in ours


def test_with_exactly_once_a_member_has_its_groups_transactional_ids() -> None:
    found = grants(Purpose.RUN, Settings(group_id="g", processing_guarantee="exactly_once"))
    assert Grant(Right.WRITE, Resource.TRANSACTIONAL_ID, "g-", prefixed=True) in found


def test_an_operator_can_do_what_everybody_else_can() -> None:
    everybody = set[tuple[str, str, str]]().union(*(held(purpose) for purpose in Purpose))
    assert held(Purpose.OPERATE) == everybody
    assert ("Read", "group", "g-dlq-retry") in everybody


def test_who_erases_over_http_can_answer_too() -> None:
    assert held(Purpose.ERASE) == held(Purpose.READ) | {("Write", "topic", "g-by-user-repartition")}


def test_every_role_of_a_topic_has_its_work() -> None:
    assert set(WORK) == set(Role)


def test_every_line_is_a_command_that_a_shell_reads_as_it_was_meant() -> None:
    asked = Asked(acls=True, purpose=Purpose.RUN, principal="User:CN=a worker,O=it's", json=False)
    settings = Settings(processing_guarantee="exactly_once", bootstrap_servers="one:1,two:2")
    comment, *lines = acls_text(settings, asked).strip().split("\n")
    assert comment.startswith("#")
    for line in lines:
        words = shlex.split(line)
        assert words[:5] == [
            "kafka-acls.sh",
            "--bootstrap-server",
            "one:1,two:2",
            "--command-config",
            "admin.properties",
        ]
        assert words[5:8] == ["--add", "--allow-principal", "User:CN=a worker,O=it's"]
    assert lines[-1].endswith("--operation Write --transactional-id context-worker- --resource-pattern-type prefixed")


def test_each_purpose_has_a_principal_of_its_own() -> None:
    text = acls_text(Settings(group_id="g"), ALL)
    assert all(f"--allow-principal User:g-{purpose.value} " in text for purpose in Purpose)


def test_as_data_it_is_the_same() -> None:
    document = json.loads(acls_text(Settings(), ALL._replace(json=True)))
    assert len(document) == sum(len(grants(purpose, Settings())) for purpose in Purpose)
    assert document[0] == {
        "purpose": "run",
        "principal": "User:context-worker-run",
        "host": "*",
        "operation": "READ",
        "permission_type": "ALLOW",
        "resource_type": "TOPIC",
        "resource_name": "autoplay.actions",
        "pattern_type": "LITERAL",
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (ALL._replace(acls=False, json=True), "go with --acls"),
        (ALL._replace(principal="User:alice"), "--principal goes with --for"),
        (ALL._replace(purpose=Purpose.RUN, principal="alice"), "expected User:NAME"),
    ],
)
def test_options_that_do_not_fit_together_are_told(asked: Asked, expected: str) -> None:
    with pytest.raises(Fatal, match=expected) as raised:
        acls_text(Settings(), asked)
    assert raised.value.exit_code is ExitCode.USAGE
