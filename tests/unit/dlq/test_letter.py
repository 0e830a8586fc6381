"""A dead letter as it is shown: in a table, as JSON; counted by reason."""

from __future__ import annotations

import base64
import io
import json

import pytest
from rich.console import Console

from schemas.dead_letter import Header
from tests.unit.dlq.letters import NOW, letter
from worker.dlq.ledger import Mark
from worker.dlq.letter import Letter
from worker.dlq.overview import Overview, Tally
from worker.dlq.plan import Kept, Plan, Prospect
from worker.dlq.printing import (
    add_letter,
    beginning_of,
    letters_table,
    print_overview,
    print_plan,
    print_sent,
)
from worker.dlq.retry import Sent
from worker.dlq.selection import Selection, newest
from worker.printing import harmless


def plain() -> Console:
    return Console(file=io.StringIO(), width=10_000, highlight=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def row_of(one: Letter, *, sent_again: bool = False) -> str:
    table = letters_table()
    add_letter(table, one, sent_again=sent_again)
    console = plain()
    console.print(table)
    return " ".join(text_of(console).splitlines()[1].split())


def test_json_holds_every_byte() -> None:
    value = bytes(range(256))
    one = letter(7, partition=2, value=value, retries=3)
    document = json.loads(one.to_json(sent_again=True))
    assert base64.b64decode(document.pop("value")) == value
    assert base64.b64decode(document.pop("key")) == b"key"
    assert document == {
        "partition": 2,
        "offset": 7,
        "written_at": NOW,
        "reason": "wrong_type",
        "field": "session_id",
        "source_topic": "actions",
        "source_partition": 2,
        "source_offset": 107,
        "source_timestamp": NOW - 1,
        "software_version": "0.1.0",
        "retries": 3,
        "sent_again": True,
        "size": 256,
        "value_omitted": False,
        "headers": [["trace", base64.b64encode(b"\xff").decode()], ["empty", None]],
    }


def test_json_of_a_letter_without_anything() -> None:
    headers: list[Header] = []
    one = Letter(0, 0, None, None, None, headers, letter(value_omitted_bytes=9, source_timestamp_ms=None).why)
    document = json.loads(one.to_json(sent_again=False))
    nulls = {"key", "value", "written_at", "source_timestamp"}
    assert {name for name, value in document.items() if value is None} == nulls
    assert (document["size"], document["value_omitted"], document["headers"]) == (9, True, [])


def test_a_row_tells_why_and_where_from_and_how_it_begins() -> None:
    one = letter(7, value=b'{"user": "Am\xc3\xa9lie"}', retries=2)
    assert row_of(one, sent_again=True) == (
        '2024-04-05T19:34:38.000Z wrong_type session_id actions/0/107 19 2 sent {"user": "Amélie"}'
    )
    assert row_of(letter(value=None, value_omitted_bytes=3_000_000)).endswith("3000000 (left out)")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (b"", ""),
        (b"a\x1b[31mb\x00\r\n\xe2\x80\xaec", r"a\x1b[31mb\x00\r\n\u202ec"),
        (b"[bold]x[/bold] \xff\xc3", r"[bold]x[/bold] \xff\xc3"),
        (b"x" * 60, "x" * 60),
        (b"x" * 61, "x" * 60 + "…"),
        ("é".encode() * 60, "é" * 60),
        ("é".encode() * 61, "é" * 60 + "…"),
        ("😀".encode() * 60 + b"\n", "😀" * 60 + "…"),
        (b"\xff" * 300, r"\xff" * 15 + "…"),
    ],
)
def test_nothing_of_a_value_reaches_a_terminal_as_it_is(value: bytes | None, shown: str) -> None:
    assert beginning_of(value) == shown


def test_names_from_headers_are_made_harmless_too() -> None:
    row = row_of(letter(reason="a\x1bb", field="\u202ec", source_topic="d\n"))
    assert r"a\x1bb" in row
    assert r"\u202ec" in row
    assert r"d\n/0/100" in row
    assert harmless("plain ünïcode") == "plain ünïcode"


def test_the_newest_are_shown_oldest_first_over_all_partitions() -> None:
    letters = [letter(0, age_s=9), letter(1, age_s=3), letter(0, partition=1, age_s=5), letter(1, partition=1, age_s=1)]
    assert [(one.partition, one.offset) for one in newest(letters, 3)] == [(1, 0), (0, 1), (1, 1)]
    assert newest(letters, 9) == sorted(letters, key=lambda one: one.written_ms or 0)


def test_the_overview_counts_all_and_hands_on_what_is_meant() -> None:
    overview = Overview()
    letters = [letter(0), None, letter(1, reason="not_json"), letter(2), letter(3, age_s=99)]
    chosen = list(overview.watch(letters, Selection(frozenset({"wrong_type"}), since=NOW - 5), {0: Mark(1)}))
    assert [one.offset for one in chosen] == [0, 2]
    assert overview.by_reason == {"wrong_type": Tally(3, 2, 1), "not_json": Tally(1, 0, 0)}
    console = plain()
    print_overview(overview, "dlq", console, shown=1)
    lines = [" ".join(line.split()) for line in text_of(console).splitlines()]
    assert lines == [
        "dlq: 4 dead letters, 2 chosen, the newest 1 shown",
        "other records on it, no dead letters of this worker: 1",
        "reason letters chosen sent again",
        "wrong_type 3 2 1",
        "not_json 1 0 0",
    ]


def test_an_empty_topic_is_one_line() -> None:
    console = plain()
    print_overview(Overview(), "dlq", console, shown=0)
    assert text_of(console) == "dlq: 0 dead letters, 0 chosen\n"


def test_a_plan_says_what_is_sent_what_becomes_of_it_and_what_is_not() -> None:
    plan = Plan(letters=9, offsets={0: [1, 2], 1: [5]})
    plan.prospects = {"not_json": Prospect(1, 0, 1), "wrong_type": Prospect(2, 1, 0)}
    plan.kept[Kept.SENT_BEFORE] = 4
    plan.kept[Kept.NO_VALUE] = 2
    console = plain()
    print_plan(plan, "actions", 600.0, console)
    lines = [" ".join(line.split()) for line in text_of(console).splitlines()]
    assert lines == [
        "3 of 9 dead letters to send again to actions",
        "reason to send late still unreadable",
        "wrong_type 2 1 0",
        "not_json 1 0 1",
        "late: more than 10 min behind the newest record: counted, and not shown",
        "still unreadable: this version would make a dead letter of it again",
        "not sent: 4 sent again before (--again sends them all the same)",
        "not sent: 2 without the value, which did not fit",
    ]


def test_a_plan_of_nothing_is_short() -> None:
    console = plain()
    print_plan(Plan(), "actions", 600.0, console)
    assert text_of(console) == "0 of 0 dead letters to send again to actions\n"


def test_what_became_of_the_letters_is_told() -> None:
    console = plain()
    print_sent(Sent(5, 2, 1, ["partition 0, offset 3: too large"]), "actions", 0.5, console)
    assert text_of(console).splitlines() == [
        "sent 5 dead letters again to actions in 0.5 s",
        "deleted from the dead-letter topic before they could be sent: 1",
        "not taken by the broker: 2",
        "  partition 0, offset 3: too large",
    ]
