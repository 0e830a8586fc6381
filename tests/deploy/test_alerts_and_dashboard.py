"""Alerts and dashboard ask for what there is; the alerts fire when they should, by promtool."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.promql import (
    ALERTS,
    DASHBOARD,
    METRIC,
    Asked,
    alert_expressions,
    dashboard_expressions,
    mistakes,
    panels,
    rules,
)
from worker.metrics import COUNTERS, GAUGES, HISTOGRAMS, PREFIX

CASES = Path(__file__).with_name("alerts_test.yaml")
WANTED = {
    "ContextStale", "ContextPartitionStalled", "ContextLateRatio", "ContextDeadLetterRatio", "ContextRestoreTooLong",
    "ContextCommitFailures", "ContextNoMembers", "ContextLagGrows",
}  # fmt: skip


@pytest.mark.parametrize("asked", [*alert_expressions(), *dashboard_expressions()], ids=lambda asked: asked.who)
def test_an_expression_asks_for_names_and_labels_that_members_have(asked: Asked) -> None:
    assert METRIC.search(asked.expression)
    assert mistakes(asked.expression) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("user_context_worker_payload_total", "no user_context_worker_payload_total"),
        ('user_context_worker_ready{reason="x"}', "user_context_worker_ready has no label reason"),
        ("sum by (topic) (user_context_worker_ready)", "nothing here has the label topic"),
        ("sum by (le) (user_context_worker_freshness_seconds_sum)", "nothing here has the label le"),
    ],
)
def test_a_wrong_expression_is_found(expression: str, wrong: str) -> None:
    assert mistakes(expression) == [wrong]


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for asked in dashboard_expressions() for name, _ in METRIC.findall(asked.expression)}
    names = {measure.name for measure in (*COUNTERS.values(), *GAUGES)}
    names |= {f"{measure.name}_bucket" for measure, _ in HISTOGRAMS.values()}
    assert {f"{PREFIX}_{name}" for name in names} - shown == set()


def test_the_dashboard_can_be_read() -> None:
    document = json.loads(DASHBOARD.read_text())
    numbers = [panel["id"] for panel in document["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert all(panel["description"] for panel in panels())
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in document["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    assert {rule["alert"] for rule in rules()} >= WANTED
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook_url"] == f"deploy/README.md#{rule['alert'].lower()}"


def test_every_alert_is_tried_both_ways() -> None:
    tried = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    assert {case["alertname"] for case in tried if case["exp_alerts"]} == names
    assert {case["alertname"] for case in tried if not case["exp_alerts"]} == names


def test_promtool_finds_the_rules_right(promtool: str) -> None:
    for arguments in (("check", "rules", str(ALERTS)), ("test", "rules", str(CASES))):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
