"""Brokers and names for tests that need a real Apache Kafka, a browser for those of the page, and one loud line when
there is none."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests import brokers, browsers, containers
from tests import prometheus as prometheus_program
from tests.brokers import Found, MavenKafka, NoBrokerError, find_broker, kafka_jars
from tests.browsers import NoBrowserError, chromium
from tests.chaos.cluster import CannotMountError, SmallDisk
from tests.containers import Engine, NoComposeError, NoEngineError, find_compose
from tests.deploy import manifests
from tests.secure_broker import SecureKafka

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_BROKER_FIXTURES = frozenset({"kafka", "private_kafka", "private_brokers", "java_kafka", "secure_kafka"})
_FOUND = pytest.StashKey[Found]()
_MISSING = pytest.StashKey[dict[str, str]]()
_HOW_TO_GET = {
    "Kafka": brokers.HOW_TO_GET_ONE,
    "Chromium": browsers.HOW_TO_GET_ONE,
    "Prometheus": prometheus_program.HOW_TO_GET_IT,
    "container engine": containers.HOW_TO_GET_ONE,
    "compose": containers.HOW_TO_GET_COMPOSE,
    "kustomize": manifests.HOW_TO_GET_KUSTOMIZE,
}
_MAY_BE_MISSING_IN_CI = {"container engine"}  # not every machine lets one start; .ci/run says so


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a real Kafka that all tests of the session share: use `unique` names on it."""
    with _needed(request.config, "Kafka", NoBrokerError), find_broker() as found:
        request.config.stash[_FOUND] = found
        yield found.bootstrap_servers


@pytest.fixture
def private_kafka(request: pytest.FixtureRequest) -> Iterator[MavenKafka]:
    """A started broker of the test's own, which it may stop, kill and restart. By Maven and Java only."""
    with _needed(request.config, "Kafka", NoBrokerError):
        broker = MavenKafka()
    with broker:
        broker.start()
        yield broker


@pytest.fixture(scope="session")
def secure_kafka(request: pytest.FixtureRequest) -> Iterator[SecureKafka]:
    """A Kafka with TLS, SASL and access control, for all tests that need one. By Maven and Java only."""
    with _needed(request.config, "Kafka", NoBrokerError):
        broker = SecureKafka()
    with broker:
        broker.start()
        yield broker


@pytest.fixture
def private_brokers(request: pytest.FixtureRequest) -> None:
    """The test starts brokers of its own, as it needs them. By Maven and Java only."""
    with _needed(request.config, "Kafka", NoBrokerError):
        kafka_jars()


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    """A file system of a few megabytes, to be filled."""
    try:
        disk = SmallDisk()
    except CannotMountError as why:
        pytest.skip(f"a full log directory needs a file system of its own: {why}")
    with disk:
        yield disk


@pytest.fixture(scope="session")
def java_kafka(request: pytest.FixtureRequest) -> Path:
    """The folder of Kafka's jars, where there is a Java that compiles."""
    if shutil.which("javac") is None:
        _give_up(request.config, "Kafka", NoBrokerError("no javac on the PATH"))
    with _needed(request.config, "Kafka", NoBrokerError):
        return kafka_jars()


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A Chromium without a window, for one module: other modules run loops of their own."""
    with _needed(request.config, "Chromium", NoBrowserError), chromium() as found:
        yield found


@pytest.fixture
def prometheus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[prometheus_program.Prometheus]:
    """A Prometheus that is not started yet."""
    with _needed(request.config, "Prometheus", prometheus_program.NoPrometheusError):
        program = prometheus_program.Prometheus(tmp_path)
    with program:
        yield program


@pytest.fixture(scope="session")
def promtool(request: pytest.FixtureRequest) -> str:
    """Prometheus' tool, which knows rules."""
    with _needed(request.config, "Prometheus", prometheus_program.NoPrometheusError):
        return prometheus_program.find_program("promtool")


@pytest.fixture(scope="session")
def compose_command(request: pytest.FixtureRequest) -> list[str]:
    """What reads compose files."""
    with _needed(request.config, "compose", NoComposeError):
        return find_compose()


@pytest.fixture
def kustomized(request: pytest.FixtureRequest) -> Callable[[str], list[manifests.Manifest]]:
    """`kustomized(folder)`: what a folder of deploy/k8s makes."""

    def build(folder: str) -> list[manifests.Manifest]:
        with _needed(request.config, "kustomize", manifests.NoKustomizeError):
            return manifests.build(folder)

    return build


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> str:
    """Our image, built once."""
    with _needed(request.config, "container engine", NoEngineError):
        return Engine().build()


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Runs containers, and removes them."""
    with _needed(request.config, "container engine", NoEngineError):
        found = Engine()
    with found:
        yield found


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Names that no other test and no other run has: `unique("input")`, the same within one test."""
    test = re.sub(r"[^A-Za-z0-9]+", "-", request.node.name)[:60].strip("-")
    run = uuid.uuid4().hex[:8]
    return lambda name: f"{test}-{run}-{name}"


@contextmanager
def _needed(config: pytest.Config, what: str, missing: type[Exception]) -> Iterator[None]:
    """Around the making of something that may be missing here."""
    try:
        yield
    except missing as why:
        _give_up(config, what, why)


def _give_up(config: pytest.Config, what: str, missing: Exception) -> NoReturn:
    """Skip; in CI fail, because there a test that never runs looks like one that passes."""
    config.stash.setdefault(_MISSING, {})[what] = str(missing)
    message = f"no {what}: {missing}"
    if os.environ.get("CI", "").lower() in ("", "0", "false") or what in _MAY_BE_MISSING_IN_CI:
        pytest.skip(message)
    pytest.fail(f"{message}; in CI this is a failure: {_HOW_TO_GET[what]}", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    """The Docker client leaves its unix sockets to the garbage collector; nothing else here opens one."""
    config.addinivalue_line("filterwarnings", r"ignore:unclosed <socket.socket fd=\d+, family=1,:ResourceWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for a broker is marked `kafka`."""
    for item in items:
        if _BROKER_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.kafka)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a process of xdist's: tell the one that prints."""
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        found = session.config.stash.get(_FOUND, None)
        told["found"] = None if found is None else [found.bootstrap_servers, found.origin]
        told["missing"] = session.config.stash.get(_MISSING, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What such a process told. One that crashed told nothing."""
    told = getattr(node, "workeroutput", {})
    if told.get("found"):
        node.config.stash[_FOUND] = Found(*told["found"])
    node.config.stash.setdefault(_MISSING, {}).update(told.get("missing", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which broker the tests ran on, or how to get one, or a browser."""
    found = config.stash.get(_FOUND, None)
    if found is not None:
        terminalreporter.write_line(f"Kafka at {found.bootstrap_servers} ({found.origin})")
    for what, missing in config.stash.get(_MISSING, {}).items():
        line = f"TESTS ON A REAL {what.upper()} WERE SKIPPED ({missing}). To run them: {_HOW_TO_GET[what]}."
        terminalreporter.write_line(line, red=True, bold=True)
