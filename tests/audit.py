"""Known vulnerabilities of what is installed: `python -m tests.audit TOOL FOLDER`.

TOOL is a Python that has pip-audit, FOLDER the site-packages to look at. Exit code 0: every package was looked up, and
nothing is known; 1: something is; 3: it is not known, because nobody could be asked. pip-audit itself calls that clean.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

OURS = "user-context-worker"
SERVICES = ("pypi", "osv")
CLEAN, VULNERABLE, NOT_KNOWN = 0, 1, 3
TIMEOUT_S = 300
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What one service said: what was looked up, what could not be, and what is wrong with which."""

    looked_up: list[str]
    skipped: list[str]
    vulnerable: list[str]

    @property
    def exit_code(self) -> int:
        if self.vulnerable:
            return VULNERABLE
        return CLEAN if self.looked_up and not self.skipped else NOT_KNOWN

    def __str__(self) -> str:
        lines = [f"looked up {len(self.looked_up)} packages"]
        lines += [f"  VULNERABLE: {each}" for each in self.vulnerable]
        if self.skipped:
            more = "" if len(self.skipped) <= SHOWN else f" and {len(self.skipped) - SHOWN} more"
            lines.append(f"could not be looked up: {', '.join(self.skipped[:SHOWN])}{more}")
        return "\n".join(lines)


def judge(report: dict[str, Any]) -> Answer:
    """pip-audit's JSON."""
    looked_up, skipped, vulnerable = [], [], []
    for package in report["dependencies"]:
        if package["name"] == OURS:
            continue
        if "skip_reason" in package:
            skipped.append(package["name"])
            continue
        name = f"{package['name']} {package['version']}"
        looked_up.append(name)
        for found in package["vulns"]:
            cure = ", ".join(found["fix_versions"]) or "no version"
            vulnerable.append(f"{name}: {found['id']}, mended in {cure}")
    return Answer(looked_up, skipped, vulnerable)


def ask(tool: str, folder: str, service: str) -> Answer | str:
    """An answer, or why there is none."""
    command = [tool, "-m", "pip_audit", "--path", folder, "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(
            [*command, "--vulnerability-service", service],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {TIMEOUT_S} s"
    try:
        return judge(json.loads(done.stdout))
    except (ValueError, KeyError):
        return (done.stderr.strip().splitlines() or ["no answer"])[-1]


def main() -> int:
    tool, folder = sys.argv[1:]
    for service in SERVICES:
        answer = ask(tool, folder, service)
        sys.stdout.write(f"{service}: {answer}\n")
        if isinstance(answer, Answer) and answer.exit_code != NOT_KNOWN:
            return answer.exit_code
    sys.stdout.write("NOT AUDITED: no service could be asked for every package; nothing is known, good or bad.\n")
    return NOT_KNOWN


if __name__ == "__main__":
    sys.exit(main())
