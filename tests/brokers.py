"""A real Apache Kafka for tests: the one that was given, else one in Docker, else one from Maven's jars.

`python -m tests.brokers` starts the last kind by hand and prints its address; Ctrl-C ends it.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

CHECKOUT = Path(__file__).resolve().parents[1]
RECIPE = CHECKOUT / "tests" / "kafka"
PUBLIC_IMAGE = "apache/kafka:4.1.0"
DOCKER_IMAGE = os.environ.get("KAFKA_TEST_IMAGE", PUBLIC_IMAGE)
MAVEN_VERSION = os.environ.get("KAFKA_TEST_VERSION", "")  # default: the recipe's
MIN_JAVA = 17
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0

HOW_TO_GET_ONE = (
    "set KAFKA_BOOTSTRAP_SERVERS=host:port to one that runs, "
    f"or start Docker (image {DOCKER_IMAGE}; KAFKA_TEST_IMAGE names another), "
    f"or install Java {MIN_JAVA} and Maven"
)

# Group membership moves within seconds, internal topics are small, nothing is created by accident.
BROKER_SETTINGS: Mapping[str, str] = {
    "num.partitions": "4",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "log.cleaner.backoff.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "200",
}


class NoBrokerError(Exception):
    """No Kafka can be had this way; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Found:
    """A broker that answers, and where it came from, for people."""

    bootstrap_servers: str
    origin: str


@contextlib.contextmanager
def find_broker() -> Iterator[Found]:
    """The first broker of: the environment's, Docker's, Maven's. Raises NoBrokerError when there is none.

    An address in the environment that does not answer is an error, not a reason to look further.
    """
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        if not answers(given, timeout_s=10.0):
            raise RuntimeError(f"KAFKA_BOOTSTRAP_SERVERS={given} does not answer; start it, or unset the variable")
        yield Found(given, "KAFKA_BOOTSTRAP_SERVERS")
        return
    with contextlib.ExitStack() as stack:
        try:
            found = Found(stack.enter_context(docker_kafka()), f"Docker, {DOCKER_IMAGE}")
        except NoBrokerError as without_docker:
            found = Found(stack.enter_context(maven_kafka(str(without_docker))), "Maven and Java")
        yield found


@contextlib.contextmanager
def maven_kafka(tried_before: str = "") -> Iterator[str]:
    """The address of a broker from Maven's jars; NoBrokerError names what was tried before it, too."""
    try:
        kafka = MavenKafka()
    except NoBrokerError as missing:
        raise NoBrokerError("; ".join(filter(None, (tried_before, str(missing))))) from missing
    with kafka:
        yield kafka.start()


@contextlib.contextmanager
def docker_kafka() -> Iterator[str]:
    """The address of a broker in a container. NoBrokerError when no daemon answers or the image cannot be had."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the two libraries are not ours to fix
        host, port = _docker_host(), free_port()
        # Half a second of imports that only this way needs.
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy  # noqa: PLC0415

        started = LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(int(START_TIMEOUT_S))
        container = DockerContainer(DOCKER_IMAGE).with_bind_ports(9092, port)
        container.with_envs(**_container_settings(host, port)).waiting_for(started).start()
    try:
        yield f"{host}:{port}"
    finally:
        container.stop()


def _docker_host() -> str:
    """The host on which published ports are reachable, once the daemon answers and has the image."""
    try:
        import docker  # type: ignore[import-untyped]  # noqa: PLC0415 - has no types; see docker_kafka
        from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415

        client = docker.from_env(timeout=10)
        client.ping()
    except Exception as error:  # noqa: BLE001 - the library raises what its transport raises: "not here"
        absent = type(error).__name__
    else:
        absent = ""
    if absent:
        gc.collect()  # the library leaves its socket to the collector: better here, where its warnings are ignored
        raise NoBrokerError(f"no Docker daemon answers ({absent})")
    try:
        client.images.get(DOCKER_IMAGE)
    except docker.errors.DockerException:
        try:
            docker.from_env(timeout=300).images.pull(DOCKER_IMAGE)
        except Exception as refused:
            raise NoBrokerError(f"Docker cannot pull {DOCKER_IMAGE}") from refused
    finally:
        client.close()
    host = DockerClient().host()
    return "127.0.0.1" if host == "localhost" else str(host)


def _container_settings(host: str, port: int) -> dict[str, str]:
    """apache/kafka takes `some.name` as KAFKA_SOME_NAME, and no defaults once one of them is set.

    The published port is not there inside, and for transactions the broker speaks to itself: hence a listener for that.
    """
    settings = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": "OUTSIDE://:9092,INSIDE://:19092,CONTROLLER://:9093",
        "advertised.listeners": f"OUTSIDE://{host}:{port},INSIDE://localhost:19092",
        "inter.broker.listener.name": "INSIDE",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,OUTSIDE:PLAINTEXT,INSIDE:PLAINTEXT",
        **BROKER_SETTINGS,
    }
    return {"KAFKA_" + name.upper().replace(".", "_"): value for name, value in settings.items()}


class MavenKafka:
    """One KRaft node from Maven's jars, in a directory and on a port of its own; a test may kill and restart it.

    Its data and its address stay the same over `stop`, `kill` and `start`; leaving the context removes the data.
    """

    def __init__(
        self, settings: Mapping[str, str] | None = None, *, port: int | None = None, cluster_id: str | None = None
    ) -> None:
        self._libs = kafka_jars()
        self._dir = Path(tempfile.mkdtemp(prefix="kafka-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port or free_port()
        self.bootstrap_servers = f"127.0.0.1:{self.port}"
        (self._dir / "server.properties").write_text(self._properties(settings or {}))
        self._format(cluster_id or new_cluster_id())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log(self) -> str:
        """What the broker has said so far."""
        path = self._dir / "broker.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start it (again) and wait until it answers. Returns its address."""
        self.launch()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(self.bootstrap_servers, timeout_s=1.0):
            if not self.is_up or time.monotonic() > deadline:
                raise RuntimeError(f"Kafka at {self.bootstrap_servers} did not start:\n{self.log[-3000:]}")
        return self.bootstrap_servers

    def launch(self) -> None:
        """Start it (again) without waiting: the nodes of a cluster wait for each other."""
        if not self.is_up:
            with (self._dir / "broker.log").open("ab") as log:
                self._process = subprocess.Popen(
                    self._java("kafka.Kafka", "server.properties"),
                    cwd=self._dir,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C ends the tests first, then they end it
                )

    def stop(self) -> None:
        """A clean shutdown, as in a rolling restart."""
        self._halt(signal.SIGTERM)

    def kill(self) -> None:
        """What a crash of the machine does to it."""
        self._halt(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it clean and start it with its data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._signal(signal.SIGCONT)

    def keep(self, directory: Path) -> None:
        """End it as a crash would, and leave its logs, settings and data there, for people to look at."""
        self._halt(signal.SIGKILL)
        shutil.move(self._dir, directory)

    def close(self) -> None:
        """End it for good and remove its data."""
        self._halt(signal.SIGKILL)
        shutil.rmtree(self._dir, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _halt(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _java(self, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={RECIPE / 'log4j2.properties'}"
        return ["java", "-Xms256m", "-Xmx1g", "-XX:+UseSerialGC", logging, "-cp", f"{self._libs}/*", main, *arguments]

    def _properties(self, settings: Mapping[str, str]) -> str:
        controller = free_port()
        node = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self._dir / "data"),
        }
        return "".join(f"{name}={value}\n" for name, value in {**node, **BROKER_SETTINGS, **settings}.items())

    def _format(self, cluster_id: str) -> None:
        # The tool takes an id that begins with "-" for an option, hence one argument.
        arguments = ("format", f"--cluster-id={cluster_id}", "-c", "server.properties")
        command = self._java("kafka.tools.StorageTool", *arguments)
        done = subprocess.run(command, cwd=self._dir, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")


def new_cluster_id() -> str:
    """What all nodes of one cluster are formatted with."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def kafka_jars() -> Path:
    """The folder of Kafka's jars; Maven fetches them once per checkout and version. Raises NoBrokerError."""
    java = shutil.which("java")
    if java is None:
        raise NoBrokerError("no java on the PATH")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < MIN_JAVA:
        raise NoBrokerError(f"java is older than {MIN_JAVA}")
    pom = RECIPE / "pom.xml"
    libs = CHECKOUT / ".kafka" / "libs" / hashlib.sha256(pom.read_bytes() + MAVEN_VERSION.encode()).hexdigest()[:12]
    if not libs.is_dir():
        _download(pom, libs)
    return libs


def _download(pom: Path, libs: Path) -> None:
    """Fetch into a folder beside it and rename: two test runs may do this at once, and one may be broken off."""
    maven = shutil.which("mvn")
    if maven is None:
        raise NoBrokerError("no mvn on the PATH")
    libs.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=libs.parent) as fresh:
        command = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={fresh}/libs"]
        command += [f"-Dkafka.version={MAVEN_VERSION}"] if MAVEN_VERSION else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NoBrokerError(f"Maven could not fetch Kafka: {done.stdout.strip()[-500:]}")
        with contextlib.suppress(OSError):  # another run was faster; its folder holds the same
            Path(fresh, "libs").rename(libs)


def answers(bootstrap_servers: str, *, timeout_s: float) -> bool:
    """Whether a broker there tells the cluster's metadata within the time."""
    host, _, port = bootstrap_servers.split(",", maxsplit=1)[0].rpartition(":")
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=timeout_s):
            break
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    # A client of its own: one that met a closed port would wait out its reconnect backoff.
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        admin.list_topics(timeout=timeout_s)
    except KafkaException:
        return False
    return True


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Run one broker until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with MavenKafka() as kafka:
            sys.stdout.write(f"export KAFKA_BOOTSTRAP_SERVERS={kafka.start()}\n")
            sys.stdout.flush()
            while True:
                signal.pause()
    except NoBrokerError as missing:
        sys.exit(f"No Kafka: {missing}; install Java {MIN_JAVA} and Maven")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
