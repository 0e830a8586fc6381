"""What is said of the dependencies: their floors, and what an audit found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.audit import CLEAN, NOT_KNOWN, OURS, VULNERABLE, judge
from tests.brokers import CHECKOUT
from tests.floors import floors, of_the_service


def test_a_floor_is_the_oldest_version_that_is_admitted() -> None:
    assert list(floors(["rich>=13.9.4", "uvicorn[standard] >= 0.35"])) == ["rich==13.9.4", "uvicorn==0.35"]


@pytest.mark.parametrize("requirement", ["rich", "rich==13", "rich>=13,<14", "rich~=13.0"])
def test_a_requirement_without_a_plain_floor_is_refused(requirement: str) -> None:
    with pytest.raises(ValueError, match="expected NAME>=VERSION"):
        list(floors([requirement]))


def test_everything_that_the_service_needs_has_one() -> None:
    pinned = of_the_service(CHECKOUT / "pyproject.toml")
    assert {"confluent-kafka", "pydantic", "fastapi"} <= {each.split("==")[0] for each in pinned}


GOOD: dict[str, Any] = {"name": "rich", "version": "15.0.0", "vulns": []}
BAD: dict[str, Any] = {"name": "old", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
SKIPPED: dict[str, Any] = {"name": "orjson", "skip_reason": "not found"}
SELF: dict[str, Any] = {"name": OURS, "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        ([GOOD, SELF], CLEAN),
        ([GOOD, BAD, SKIPPED], VULNERABLE),
        ([GOOD, SKIPPED], NOT_KNOWN),
        ([SKIPPED, SELF], NOT_KNOWN),
        ([SELF], NOT_KNOWN),
        ([], NOT_KNOWN),
    ],
)
def test_an_audit_that_could_not_ask_is_no_clean_one(packages: list[dict[str, Any]], expected: int) -> None:
    assert judge({"dependencies": packages}).exit_code == expected


def test_what_is_vulnerable_is_told_with_the_cure() -> None:
    assert "old 1.0: CVE-1, mended in 1.1" in str(judge({"dependencies": [BAD]}))
