"""`reset-user` on a real broker: against what comes late, what was held, what a crash repeats, and a restart."""

from __future__ import annotations

import time
from pathlib import Path

import orjson
import pytest

from tests.acceptance.members import Member
from tests.integration.shell import PARTITIONS, Shell, messages, wait_until
from tests.routed import routed_in
from worker.errors import ExitCode
from worker.kafka import murmur2


def feed(shell: Shell, *payloads: dict[str, object]) -> None:
    assert shell("produce", "-", stdin=b"\n".join(map(orjson.dumps, payloads))).returncode == 0


def payload(session_id: str, text: str, *, user_id: str | None = None, age_s: float = 0.0) -> dict[str, object]:
    now = time.time()
    action = {"type": "click", "description": text, "canonical_url": "/"}
    return {"session_id": session_id, "user_id": user_id, "forwarded_at": now - age_s, "actions": [action]}


def texts_of(shell: Shell, user_id: str) -> str:
    """What is known of a user; "" when that is nothing."""
    asked = shell("user", user_id, "--json")
    assert asked.returncode in {0, ExitCode.NOT_FOUND}
    return "".join(session["context"] for session in orjson.loads(asked.stdout)["sessions"]) if asked.stdout else ""


def output_of(shell: Shell, user_id: str) -> list[bytes | None]:
    """Every record of a user, in log order."""
    found = messages(shell.settings, shell.settings.output_topic)
    return [message.value() for message in found if message.key() == user_id.encode()]


def test_what_was_known_comes_late_or_was_held_is_erased_and_life_goes_on(shell: Shell, member: Member) -> None:
    feed(
        shell,
        payload("s1", "known before", user_id="u", age_s=9),
        payload("s2", "held before", age_s=8),
        payload("s3", "other", user_id="v", age_s=7),
    )
    wait_until(lambda: "known before" in texts_of(shell, "u"), "u is known")

    erased = shell("reset-user", " u ")
    assert erased.returncode == 0, erased.stderr
    assert b"user u is erased" in erased.stdout
    assert texts_of(shell, "u") == ""
    (reset,) = [one for one in messages(shell.settings, shell.settings.repartition_topic) if one.value() is None]
    assert reset.key() == b"u"
    assert reset.partition() == murmur2(b"u", PARTITIONS)
    assert f"partition {reset.partition()}, offset {reset.offset()}" in erased.stdout.decode()

    feed(shell, payload("s1", "late", user_id="u", age_s=6), payload("s2", "after", user_id="u", age_s=-1))
    wait_until(lambda: "after" in texts_of(shell, "u"), "u is known again")
    assert texts_of(shell, "u") == "Recent activity:\n1. [0] click: after — /"
    assert "other" in texts_of(shell, "v")


def test_nobody_who_is_erased_comes_back_with_a_crash_or_a_restart(shell: Shell, tmp_path: Path) -> None:
    assert shell("topics", "--input-partitions", str(PARTITIONS)).returncode == 0
    given = shell.given | {"commit_interval_s": 60, "session_timeout_ms": 6000}

    def start(name: str) -> Member:
        return Member(name, given, tmp_path / f"{name}.log")

    def routed() -> int:
        return len(routed_in(one.value() for one in messages(shell.settings, shell.settings.repartition_topic)))

    running = start("first")
    try:
        feed(shell, *(payload(f"s{n}", f"act {n}", user_id="u", age_s=9) for n in range(6)), payload("a", "held"))
        wait_until(lambda: routed() == 6 and "act 5" in texts_of(shell, "u"), "u is known")
        assert shell("reset-user", "u").returncode == 0
        before = len(output_of(shell, "u"))

        running.kill()  # nothing is committed: the successor sends everything on again, behind the reset
        running = start("second")
        wait_until(lambda: routed() == 12, "everything is sent on again", 60)
        feed(shell, payload("b", "somebody", user_id="v"))
        wait_until(lambda: "somebody" in texts_of(shell, "v"), "the second member publishes")
        running.terminate()
        running.wait_exit()
        running = start("third")
        feed(shell, payload("c", "somebody else", user_id="v"))
        wait_until(lambda: "somebody else" in texts_of(shell, "v"), "the third member publishes")
    finally:
        running.terminate()
        running.wait_exit()
    assert set(output_of(shell, "u")[before:]) <= {None}


@pytest.fixture
def topics(shell: Shell) -> None:
    assert shell("topics", "--input-partitions", str(PARTITIONS)).returncode == 0


def test_without_a_member_it_is_written_and_takes_effect_later(shell: Shell, topics: None, tmp_path: Path) -> None:
    erased = shell("reset-user", "u")
    assert erased.returncode == ExitCode.PENDING
    assert b"the reset is written" in erased.stdout
    assert b"no member of group" in erased.stdout
    assert shell("reset-user", "u", "--no-wait").returncode == 0
    running = Member("late", shell.given, tmp_path / "late.log")
    try:
        wait_until(lambda: output_of(shell, "u") != [], "the null record is out")
    finally:
        running.terminate()
        running.wait_exit()
    assert set(output_of(shell, "u")) == {None}


def test_what_is_not_seen_in_time_is_told(shell: Shell, member: Member) -> None:
    feed(shell, payload("s", "known", user_id="u"))
    wait_until(lambda: "known" in texts_of(shell, "u"), "u is known")
    member.pause()
    try:
        erased = shell("reset-user", "u", "--timeout", "1")
    finally:
        member.resume()
    assert erased.returncode == ExitCode.PENDING
    assert b"not seen in time" in erased.stdout


@pytest.mark.parametrize("user_id", ["", "  ", b"\xff".decode(errors="surrogateescape")])
def test_an_id_that_nobody_has_is_refused(shell: Shell, user_id: str) -> None:
    assert shell("reset-user", user_id).returncode == ExitCode.USAGE
