"""The log where no terminal is: one JSON object a line."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import orjson
import pytest

from tests.unit.runtime.member import FakeMember, new_broker
from worker.log_setup import JsonLines


def test_life_cycle_lines_tell_topic_partition_and_duration(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    FakeMember(new_broker()).settle()
    [line] = [orjson.loads(JsonLines().format(record)) for record in caplog.records]
    assert line["message"].startswith("assigned ")
    assert line["level"] == "INFO"
    assert line["event"] == "assigned"
    assert line["partitions"] == [{"topic": "hop", "partition": 0}, {"topic": "input", "partition": 0}]
    assert line["duration_s"] >= 0


def test_an_error_brings_its_traceback_in_the_same_line() -> None:
    error = ValueError("on purpose")
    record = logging.LogRecord("worker", logging.ERROR, "", 0, "failed", (), (ValueError, error, None))
    text = JsonLines().format(record)
    assert "\n" not in text
    assert "ValueError: on purpose" in orjson.loads(text)["traceback"]


def test_half_a_character_and_a_value_that_is_no_json_do_not_lose_the_line() -> None:
    record = logging.LogRecord("worker", logging.ERROR, "", 0, "no file %s", ("caf\udce9",), None)
    record.fields = {"path": Path("/run")}
    line = json.loads(JsonLines().format(record))
    assert (line["message"], line["path"]) == ("no file caf\udce9", "/run")
