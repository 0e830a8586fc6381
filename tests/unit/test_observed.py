"""/metrics, /healthz and /readyz of a member over the broker of lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.broker import FakeBroker
from tests.http_get import http_get
from tests.unit.runtime.member import FakeMember, new_broker, send
from worker.client_statistics import ClientStatistics
from worker.health import Health
from worker.http_service import HttpService
from worker.metrics import COUNTERS, GAUGES, HISTOGRAMS, PREFIX
from worker.observed import observe
from worker.settings import Settings

SECRET = "planted-with-care"


class Shown:
    """A member and what it shows."""

    def __init__(self, broker: FakeBroker, **settings: Any) -> None:
        self.broker = broker
        self.member = FakeMember(broker, **settings)
        self.statistics = ClientStatistics()
        self.http: HttpService = observe(
            self.member.service, Settings(http_address="127.0.0.1:0"), self.statistics
        ).__enter__()

    def get(self, path: str) -> tuple[int, str]:
        return http_get(self.http.port, path)

    def families(self) -> set[str]:
        """The names as Prometheus reads them; it takes _total off."""
        return {family.name for family in text_string_to_metric_families(self.get("/metrics")[1])}

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples with these labels."""
        found = [
            sample.value
            for family in text_string_to_metric_families(self.get("/metrics")[1])
            for sample in family.samples
            if sample.name == f"{PREFIX}_{name}" and labels.items() <= sample.labels.items()
        ]
        assert found, f"{name} {labels}"
        return sum(found)


@pytest.fixture
def make_shown(request: pytest.FixtureRequest) -> Callable[..., Shown]:
    def make(broker: FakeBroker, **settings: Any) -> Shown:
        shown = Shown(broker, **settings)
        request.addfinalizer(lambda: shown.http.__exit__(None, None, None))
        return shown

    return make


def test_every_metric_is_shown_from_the_start(make_shown: Callable[..., Shown]) -> None:
    measures = [*COUNTERS.values(), *GAUGES, *(histogram.measure for histogram in HISTOGRAMS.values())]
    expected = {f"{PREFIX}_{measure.name}".removesuffix("_total") for measure in measures}
    assert {name for name in make_shown(new_broker()).families() if name.startswith(PREFIX)} == expected


def test_what_was_done_is_counted(make_shown: Callable[..., Shown]) -> None:
    broker = new_broker(partitions=2)
    shown = make_shown(broker)
    shown.member.settle()
    send(broker, "ps_1", "amelie", partition=0)
    send(broker, "ps_2", None, partition=1)
    broker.append("input", b"key", b"no json", partition=0)
    shown.member.settle()
    assert shown.value("payloads_total") == 2
    assert shown.value("routed_payloads_total") == 1
    assert shown.value("dead_letters_total") == 1
    assert shown.value("stage_events_total", kind="held") == 1
    assert shown.value("held_sessions", topic="input", partition="1") == 1
    assert shown.value("held_sessions", topic="input", partition="0") == 0
    assert shown.value("users") == 1
    assert shown.value("published_records_total", kind="context") == 1
    assert shown.value("published_bytes_total") > 100
    assert shown.value("tasks", state="running") == 4
    assert shown.value("checkpoint_duration_seconds_count") > 0
    assert shown.value("rebalance_duration_seconds_count", event="assigned") == 1
    assert shown.value("lag_records") == 0
    assert shown.value("lag_seconds") == 0


def test_freshness_is_from_the_event_to_the_record_and_an_expiry_is_none(make_shown: Callable[..., Shown]) -> None:
    broker = new_broker()
    shown = make_shown(broker)
    shown.member.settle()
    send(broker, at=broker.clock.wall() - 40)
    shown.member.settle()
    assert shown.value("freshness_seconds_count") == 1
    assert 40 <= shown.value("freshness_seconds_sum") < 41
    broker.clock.sleep(400)
    shown.member.turn(150)  # ten seconds of silence that it has seen itself, and some
    assert shown.value("published_records_total", kind="tombstone") == 1
    assert shown.value("freshness_seconds_count") == 1


def test_a_record_that_is_published_again_after_a_restart_is_not_fresh_once_more(
    make_shown: Callable[..., Shown],
) -> None:
    broker = new_broker()
    first = FakeMember(broker)
    first.settle()
    send(broker)
    first.settle()
    first.loop.stop()
    first.loop.work()
    shown = make_shown(broker)
    shown.member.settle()
    assert shown.value("published_records_total", kind="context") == 1
    assert shown.value("freshness_seconds_count") == 0
    assert shown.value("restore_duration_seconds_count") > 0


def test_lag_is_told_in_records_and_in_seconds(make_shown: Callable[..., Shown]) -> None:
    broker = new_broker()
    shown = make_shown(broker)
    shown.member.settle()
    [task] = [task for (topic, _), task in shown.member.tasks.items() if topic == "input"]
    task.see_end(task.next_offset + 5, broker.clock.wall())
    broker.clock.sleep(7)
    assert shown.value("lag_records", topic="input") == 5
    assert 7 <= shown.value("lag_seconds", topic="input") < 8


def test_a_repeat_and_a_record_that_was_made_smaller_are_counted(make_shown: Callable[..., Shown]) -> None:
    broker = new_broker()
    shown = make_shown(broker, max_record_bytes=1024)
    shown.member.settle()
    send(broker, text="x" * 600)
    send(broker, text="y" * 600)
    shown.member.settle()
    assert shown.value("stage_events_total", kind="records_truncated") >= 1
    again = broker.records("hop")[-1]
    broker.append("hop", again.key(), again.value(), partition=0)
    shown.member.settle()
    assert shown.value("stage_events_total", kind="repeats") >= 1


def test_ready_is_joined_and_all_restored(make_shown: Callable[..., Shown]) -> None:
    broker = new_broker()
    shown = make_shown(broker)
    assert shown.get("/readyz") == (503, "has not joined the group\n")
    shown.member.settle()
    assert shown.get("/readyz") == (200, "ready\n")
    shown.member.assignment.drop_all()
    assert shown.get("/readyz") == (200, "ready\n")
    shown.member.loop.stop()
    assert shown.get("/readyz") == (503, "stopping\n")


def test_alive_is_a_young_heartbeat_whatever_the_broker_does(make_shown: Callable[..., Shown]) -> None:
    broker = new_broker()
    shown = make_shown(broker)
    shown.member.settle()
    broker.is_down = True
    shown.member.turn(20)
    assert shown.get("/healthz") == (200, "ok\n")
    broker.clock.sleep(shown.member.service.longest_turn_s + 1)
    assert shown.get("/healthz")[0] == 503
    assert shown.get("/readyz")[0] == 503
    shown.member.turn()
    assert shown.get("/healthz") == (200, "ok\n")


def test_the_loop_goes_on_when_nobody_answers_any_more(
    make_shown: Callable[..., Shown], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def die() -> None:
        raise RuntimeError("on purpose")

    broker = new_broker()
    shown = make_shown(broker)
    monkeypatch.setattr(shown.http._server, "service_actions", die)
    shown.http._thread.join(10)
    assert "health and metrics are not answered any more" in caplog.text
    shown.member.settle()
    send(broker)
    shown.member.settle()
    assert shown.member.count("published", "context") == 1


def test_nothing_about_anybody_is_shown_or_logged(
    make_shown: Callable[..., Shown], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    broker = new_broker()
    shown = make_shown(broker, max_record_bytes=1024, max_held_sessions=1)
    shown.member.settle()
    for session in range(3):
        send(broker, f"{SECRET}-{session}", f"{SECRET}-user", f"{SECRET} " * 100)
        send(broker, f"{SECRET}-held-{session}", None, SECRET)
    broker.append("input", SECRET.encode(), f'{{"session_id": "{SECRET}", "actions": "{SECRET}"}}'.encode())
    broker.append("input", SECRET.encode(), SECRET.encode())
    broker.append("hop", f"{SECRET}-user".encode(), None)
    shown.member.settle()
    broker.is_down = True
    shown.member.turn(20)
    broker.is_down = False
    shown.member.settle()
    shown.member.loop.stop()
    shown.member.loop.work()
    assert shown.member.count("dead_letters", "invalid_json") + shown.member.count("dead_letters", "wrong_type") > 0
    assert SECRET not in shown.get("/metrics")[1]
    assert caplog.text
    assert SECRET not in caplog.text


def test_health_takes_no_heartbeat_from_the_future() -> None:
    member = FakeMember(new_broker())
    health = Health(member.loop, member.assignment, member.broker.clock, 60)
    assert health.heartbeat_age_s == 0.0
