"""The runbook: every alert has its entry, every link leads somewhere, every constant was measured."""

from __future__ import annotations

import re
from pathlib import Path

from tests.brokers import CHECKOUT
from tests.deploy.promql import DEPLOY, rules

RUNBOOK = DEPLOY / "README.md"
REPORT = CHECKOUT / "benchmarks" / "REPORT.md"


def anchors(path: Path) -> set[str]:
    """What the headings of a page can be linked by: as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_has_its_entry_and_no_entry_is_left_over() -> None:
    asked = [rule["annotations"]["runbook_url"] for rule in rules()]
    assert [url.split("#")[0] for url in asked] == ["deploy/README.md"] * len(asked)
    assert [url.split("#")[1] for url in asked] == [
        heading.lower() for heading in re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    ]


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", RUNBOOK.read_text())
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        path = (DEPLOY / name).resolve() if name else RUNBOOK
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def test_every_constant_is_in_the_report_and_used() -> None:
    text = RUNBOOK.read_text()
    table = text.split("<!-- constants -->")[1].split("<!-- end of constants -->")[0]
    values = [row.strip("| ").split("|")[-1].strip().split()[0] for row in table.strip().splitlines()[2:]]
    assert len(values) == 7
    for value in values:
        assert re.search(rf"(?<![\d.,]){re.escape(value)}(?![\d,])", REPORT.read_text()), f"{value} was not measured"
        assert text.count(value) > 1, f"{value} is used nowhere"
