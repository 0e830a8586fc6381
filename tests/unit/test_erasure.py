"""`reset-user` without a broker: what it asks, what it says, how it ends."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import pytest
import typer

from schemas.user_context import SessionContext, UserContext
from worker import cli
from worker.confirmation import confirmed
from worker.erasure import Effect, WrittenReset
from worker.errors import ExitCode, Fatal
from worker.lookup import user_id_of
from worker.printing import in_short
from worker.settings import Settings

RESET = WrittenReset("repartition", 3, 17, 1712345678.9)


@dataclass
class FakeErasure:
    """Says what it was told to, and keeps what was done."""

    effect: Effect = Effect.ERASED
    record: UserContext | None = None
    done: list[str] = field(default_factory=list)

    def __call__(self, _settings: Settings, user_id: str) -> FakeErasure:
        self.done.append(user_id)
        return self

    def known(self) -> UserContext | None:
        return self.record

    def write(self) -> WrittenReset:
        self.done.append("written")
        return RESET

    def wait(self, reset: WrittenReset, timeout_s: float) -> Effect:
        assert reset == RESET
        self.done.append(f"waited {timeout_s:.0f} s")
        return self.effect

    def close(self) -> None:
        self.done.append("closed")


@pytest.fixture
def erasure(monkeypatch: pytest.MonkeyPatch) -> FakeErasure:
    fake = FakeErasure()
    monkeypatch.setattr(cli, "Erasure", fake)
    return fake


def reset_user(*arguments: str) -> int:
    command = typer.main.get_command(cli.app)
    return int(command.main(["reset-user", *arguments], standalone_mode=False) or 0)


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: bool | type[Exception]) -> list[str]:
    """What is asked there, and what the answer is."""
    asked: list[str] = []

    def confirm(question: str, *, err: bool) -> bool:
        assert err
        asked.append(question)
        if isinstance(answer, type):
            raise answer
        return answer

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", confirm)
    return asked


@pytest.mark.parametrize(
    ("effect", "code", "words"),
    [
        (Effect.ERASED, ExitCode.OK, "user u is erased: the newest record is null"),
        (Effect.SEEN_AGAIN, ExitCode.OK, "user u is erased, and was seen again since"),
        (Effect.NO_MEMBER, ExitCode.PENDING, "no member of group context-worker runs: it takes effect as soon as"),
        (Effect.NOT_YET, ExitCode.PENDING, "was not seen in time: it takes effect when group context-worker gets"),
    ],
)
def test_what_could_be_seen_is_said_in_plain_words_and_as_exit_code(
    effect: Effect, code: ExitCode, words: str, erasure: FakeErasure, capsys: pytest.CaptureFixture[str]
) -> None:
    erasure.effect = effect
    assert reset_user(" u ") == code
    written, said = capsys.readouterr().out.splitlines()
    assert written == (
        "the reset is written (repartition, partition 3, offset 17): it erases all up to 2024-04-05T19:34:38.900Z"
    )
    assert words in said
    assert erasure.done == ["u", "written", "waited 60 s", "closed"]


def test_whoever_does_not_wait_is_told_where_the_reset_is(
    erasure: FakeErasure, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reset_user("u", "--no-wait") == 0
    assert erasure.done == ["u", "written", "closed"]
    assert capsys.readouterr().out.startswith("the reset is written")


def test_on_a_terminal_it_asks_and_a_no_writes_nothing(erasure: FakeErasure, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = on_a_terminal(monkeypatch, answer=False)
    assert reset_user("u") == ExitCode.INTERRUPTED
    assert asked == ["nothing is known of user u now. Erase?"]
    assert erasure.done == ["u", "closed"]


def test_with_yes_it_does_not_ask(erasure: FakeErasure, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = on_a_terminal(monkeypatch, answer=False)
    assert reset_user("u", "--yes") == 0
    assert asked == []


@pytest.mark.parametrize(("answer", "expected"), [(True, True), (False, False), (typer.Abort, False)])
def test_whoever_sits_at_a_terminal_decides(
    answer: bool | type[Exception], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch, answer)
    assert confirmed("Erase?", yes=False) is expected


def test_what_is_known_is_told_in_short() -> None:
    sessions = tuple(SessionContext(session_id=name, last_seen_at=90.0) for name in "ab")
    record = UserContext(user_id="u", updated_at=90.0, expires_at=390.0, sessions=sessions)
    assert in_short("u", record, 100.0) == "user u: 2 sessions, last seen 10 s ago"
    one = record.model_copy(update={"sessions": sessions[:1]})
    assert in_short("u", one, 100.0) == "user u: 1 session, last seen 10 s ago"
    assert in_short("u", record, 400.0) == in_short("u", None, 0.0) == "nothing is known of user u now"


def test_an_id_is_as_it_stands_in_the_records() -> None:
    assert user_id_of(" 42\n") == "42"
    for nobody in ("", " ", "\udcff"):
        with pytest.raises(Fatal) as refused:
            user_id_of(nobody)
        assert refused.value.exit_code == ExitCode.USAGE
