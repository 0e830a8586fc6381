"""The README says what the code does."""

from __future__ import annotations

import re

import pytest

from tests.readme_tables import README, fill_in

MUST_BE_SAID = (
    "killed", "paused", "suspended", "down for a minute", "longer than every timeout", "disk is full",
    "partitions are added", "made anew", "offsets expired", "poison", "deploy", "clock is wrong",
)  # fmt: skip


def test_the_tables_are_what_the_code_says() -> None:
    text = README.read_text()
    assert text == fill_in(text), "stale: run `.venv/bin/python -m tests.readme_tables`"


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text())
    assert links
    missing = [link for link in links if not (README.parent / link).exists()]
    assert missing == []


def rows() -> list[list[str]]:
    """The cells of the table of what happens when."""
    table = README.read_text().split("<!-- what happens when -->")[1].split("<!-- end of what happens when -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()[2:]]


@pytest.mark.parametrize("words", MUST_BE_SAID)
def test_what_happens_when_is_said(words: str) -> None:
    assert [row for row in rows() if words in row[0]]


def test_every_test_that_shows_what_happens_exists() -> None:
    missing = []
    for when, _, shown in rows():
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", shown)
        assert named, f"{when}: no test is named"
        missing += [f"{path}::{name}" for path, name in named if not _has(path, name)]
    assert missing == []


def _has(path: str, name: str) -> bool:
    file = README.parent / path
    return file.exists() and f"\ndef {name}(" in file.read_text()
