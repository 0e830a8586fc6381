"""The README says what the code does."""

from __future__ import annotations

import re

from tests.readme_tables import README, fill_in


def test_the_tables_are_what_the_code_says() -> None:
    text = README.read_text()
    assert text == fill_in(text), "stale: run `.venv/bin/python -m tests.readme_tables`"


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text())
    assert links
    missing = [link for link in links if not (README.parent / link).exists()]
    assert missing == []
