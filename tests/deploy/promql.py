"""The expressions of the alerts and of the dashboard, and whether they ask for what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from tests.brokers import CHECKOUT
from worker.metrics import COUNTERS, GAUGES, HISTOGRAMS, PREFIX

DEPLOY = CHECKOUT / "deploy"
ALERTS = DEPLOY / "alerts.yaml"
DASHBOARD = DEPLOY / "dashboard.json"

SCRAPED = {"job", "instance"}  # every series has them
PROCESS = {"process_start_time_seconds", "process_resident_memory_bytes", "process_cpu_seconds_total"}
METRIC = re.compile(rf"\b((?:{PREFIX}|process)_\w+)(?:\{{([^}}]*)\}})?")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


class Asked(NamedTuple):
    """An expression and who asks."""

    who: str
    expression: str


def known_series() -> dict[str, set[str]]:
    """Every name that Prometheus gets from a member, with its labels."""
    known = {name: set(SCRAPED) for name in PROCESS}
    for measure in (*COUNTERS.values(), *GAUGES):
        known[f"{PREFIX}_{measure.name}"] = {*measure.labels, *SCRAPED}
    for measure, _ in HISTOGRAMS.values():
        labels = {*measure.labels, *SCRAPED}
        known[f"{PREFIX}_{measure.name}_bucket"] = labels | {"le"}
        known[f"{PREFIX}_{measure.name}_count"] = known[f"{PREFIX}_{measure.name}_sum"] = labels
    return known


def mistakes(expression: str) -> list[str]:
    """Names and labels in an expression that no member has."""
    known = known_series()
    wrong, labels = [], set(SCRAPED)
    for name, matchers in METRIC.findall(expression):
        labels |= known.get(name, set())
        strange = set(MATCHER.findall(re.sub(r'"[^"]*"', "", matchers))) - known.get(name, set())
        wrong += [f"{name} has no label {label}" for label in sorted(strange)] if name in known else [f"no {name}"]
    for grouped in GROUPING.findall(expression):
        asked = {label.strip() for label in grouped.split(",")} - {""}  # `on ()`: none
        wrong += [f"nothing here has the label {label}" for label in sorted(asked - labels)]
    return wrong


def rules() -> list[dict[str, Any]]:
    """All alerts."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """The panels of the dashboard that show something."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def alert_expressions() -> Iterator[Asked]:
    """What the alerts ask."""
    return (Asked(rule["alert"], rule["expr"]) for rule in rules())


def dashboard_expressions() -> Iterator[Asked]:
    """What the panels ask."""
    return (Asked(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"])
