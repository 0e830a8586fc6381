"""What a member shows of itself over HTTP, wired. Imports prometheus-client."""

from __future__ import annotations

import platform

from worker.app import Service, software_version
from worker.client_statistics import ClientStatistics
from worker.health import Health
from worker.http_service import Answer, HttpService
from worker.kafka import libversion
from worker.listen import parse_listen
from worker.metrics_page import CONTENT_TYPE, MetricsPage, Observed
from worker.settings import Settings


def observe(service: Service, settings: Settings, statistics: ClientStatistics) -> HttpService:
    """Health and metrics of a member at `http_address`, while it is entered.

    Raises:
        Fatal: USAGE; the address cannot be had.
    """
    health = Health(service.loop, service.assignment, service.clock, service.longest_turn_s)
    build = (
        software_version(),
        platform.python_version(),
        libversion()[0],
        settings.processing_guarantee,
        settings.group_protocol,
    )
    page = MetricsPage(Observed(service.metrics, service.assignment, health, statistics, service.clock, build))

    def healthz() -> Answer:
        return Answer(200, b"ok\n") if health.is_alive else Answer(503, b"the loop does not come round\n")

    def readyz() -> Answer:
        why_not = health.why_not_ready
        return Answer(503, f"{why_not}\n".encode()) if why_not else Answer(200, b"ready\n")

    routes = {
        "/healthz": healthz,
        "/readyz": readyz,
        "/metrics": lambda: Answer(200, page.text(), CONTENT_TYPE),
    }
    return HttpService(parse_listen(settings.http_address), routes)
