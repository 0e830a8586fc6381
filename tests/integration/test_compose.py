"""compose.yaml: what it says, and Kafka, members, `serve` and Prometheus out of it really run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.brokers import CHECKOUT, DOCKER_IMAGE, PUBLIC_IMAGE, free_port
from tests.containers import BASE, DOCKERFILE_BASE, Engine, wait_until
from tests.deploy.promql import rules
from tests.prometheus import PrometheusApi, find_program

FILE = CHECKOUT / "deploy" / "compose.yaml"
RUN_HERE = ("kafka", "topics", "worker", "serve", "prometheus")  # Grafana's image can be had from its registry only
UP_S = 240.0
TOKEN = "only-for-this-test"


class Compose:
    """The services of the file under a name of their own, on free ports."""

    def __init__(self, command: list[str], variables: dict[str, str]) -> None:
        self.ports = {name: free_port() for name in ("KAFKA", "SERVE", "PROMETHEUS", "GRAFANA")}
        ports = {f"{name}_PORT": str(port) for name, port in self.ports.items()}
        self.project = f"test{uuid.uuid4().hex[:8]}"
        self._command = [*command, "-p", self.project, "-f", str(FILE)]
        self._environment = {**os.environ, "READ_TOKEN": TOKEN, **ports, **variables}

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._command, *arguments], env=self._environment, capture_output=True, text=True, check=False,
            timeout=UP_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout


@pytest.fixture
def services(compose_command: list[str]) -> dict[str, Any]:
    """As compose reads them."""
    return dict(yaml.safe_load(Compose(compose_command, {})("config"))["services"])


def test_it_is_valid_and_every_port_is_on_loopback(services: dict[str, Any]) -> None:
    assert set(services) == {*RUN_HERE, "grafana"}
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(str(port).startswith("127.0.0.1:") or port["host_ip"] == "127.0.0.1" for port in ports)


def test_ours_may_do_nothing_that_they_need_not(services: dict[str, Any]) -> None:
    ours = [services[name] for name in ("worker", "serve", "topics")]
    for service in ours:
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert services["worker"]["scale"] == 2


def test_every_image_can_be_named_and_every_file_that_is_mounted_is_there() -> None:
    document = yaml.safe_load(FILE.read_text())
    for name, service in document["services"].items():
        assert service["image"].startswith("${"), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in document["volumes"] or (FILE.parent / source).is_file(), volume


def test_the_same_versions_are_named_everywhere() -> None:
    text = FILE.read_text()
    assert f"${{BASE_IMAGE:-{DOCKERFILE_BASE}}}" in text
    assert f"ARG BASE={DOCKERFILE_BASE}\n" in (FILE.parent / "Dockerfile").read_text()
    assert f"${{KAFKA_IMAGE:-{PUBLIC_IMAGE}}}" in text


@pytest.fixture
def compose(engine: Engine, image: str, compose_command: list[str], tmp_path: Path) -> Iterator[Compose]:
    """With our image, and a Prometheus that is put together here where none can be pulled."""
    variables = {"WORKER_IMAGE": image, "KAFKA_IMAGE": DOCKER_IMAGE}
    if BASE:
        variables["PROMETHEUS_IMAGE"] = _prometheus_image(engine, tmp_path)
    compose = Compose(compose_command, variables)
    yield compose
    compose("down", "--volumes", "--timeout", "1")


def _prometheus_image(engine: Engine, folder: Path) -> str:
    shutil.copy(find_program("prometheus"), folder / "prometheus")
    (folder / "Dockerfile").write_text(
        f"FROM {BASE}\nCOPY prometheus /bin/\nRUN install -d -o 65534 /prometheus\nUSER 65534\n"
        'ENTRYPOINT ["/bin/prometheus"]\n'
    )
    engine("build", "--quiet", "--tag", "prometheus:test", str(folder))
    return "prometheus:test"


def test_what_is_produced_is_known_by_serve_and_seen_by_prometheus(engine: Engine, compose: Compose) -> None:
    compose("up", "--detach", "--no-build", *RUN_HERE)
    prometheus = PrometheusApi(compose.ports["PROMETHEUS"])
    prometheus.wait_for('sum(user_context_worker_ready{job="context-worker"}) == 2', timeout_s=90)
    compose("run", "--rm", "--no-deps", "-T", "worker", "produce", "--rebase", "sample")

    request = urllib.request.Request(f"http://127.0.0.1:{compose.ports['SERVE']}/context?user_id=amelie")
    request.add_header("Authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert json.load(response)["user_id"] == "amelie"
    prometheus.wait_for("sum(user_context_worker_payloads_total) > 0", timeout_s=60)
    prometheus.wait_for('up{job="serve"} == 1')
    assert prometheus.alerts() == [rule["alert"] for rule in rules()]
    assert prometheus.query('ALERTS{alertstate="firing"}') == []  # pending they may be: the sample tells of an hour

    workers = compose("ps", "--quiet", "worker").split()
    assert len(workers) == 2
    wait_until(lambda: all(_health(engine, each) == "healthy" for each in workers), lambda: engine.log(workers[0]))
    compose("stop", "worker", "serve")
    assert [engine.look(each, "{{.State.ExitCode}}") for each in workers] == ["0", "0"]


def _health(engine: Engine, container: str) -> str:
    return engine.look(container, "{{.State.Health.Status}}")
