"""Brokers that a scenario may break: one with proxies in front of it, or three that replicate."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.acceptance.topic_log import QUIET
from tests.brokers import MavenKafka, free_port, new_cluster_id
from tests.chaos.proxy import Proxy

REPLICATED = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}
# By default the broker looks every ten seconds for transactions whose time is over; a run has no time for that.
TRANSACTIONS = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000"}
SMALL_DISK_MB = 128  # a fresh broker and the traffic of one scenario take about 30
ANSWER_TIMEOUT_S = 3.0
FILLER_BLOCK = bytes(1_000_000)


class CannotMountError(Exception):
    """No small file system can be had here; the message says why."""


class Cluster:
    """Nodes with data and addresses of their own; `lanes` proxies in front of the first one.

    Tests speak to the brokers directly; a member speaks to one through its lane, where there are lanes.
    """

    def __init__(
        self, nodes: int = 1, lanes: int = 0, data_dir: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self._exit = contextlib.ExitStack()
        cluster_id = new_cluster_id()
        ports, controllers = [free_port() for _ in range(nodes)], [free_port() for _ in range(nodes)]
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, start=1))
        lane_ports = [free_port() for _ in range(lanes)]
        self.lanes = [self._exit.enter_context(Proxy(port)) for port in lane_ports]
        self.nodes: list[MavenKafka] = []
        for number, (port, controller) in enumerate(zip(ports, controllers, strict=True), start=1):
            own = {"node.id": str(number), "controller.quorum.voters": voters, **TRANSACTIONS, **(settings or {})}
            own |= _listeners(port, controller, lane_ports, [lane.address for lane in self.lanes])
            own |= REPLICATED if nodes >= 3 else {}
            own |= {"log.dirs": str(data_dir / f"node-{number}")} if data_dir else {}
            node = MavenKafka(own, port=port, cluster_id=cluster_id)
            self.nodes.append(self._exit.enter_context(node))
        self.bootstrap_servers = ",".join(node.bootstrap_servers for node in self.nodes)

    def __enter__(self) -> Self:
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def keep(self, directory: Path) -> None:
        """End all brokers and leave there what each of them had: its log and its data (none of a `data_dir`)."""
        for number, node in enumerate(self.nodes, start=1):
            node.keep(directory / f"broker-{number}")

    @property
    def is_up(self) -> bool:
        """Whether every broker runs."""
        return all(node.is_up for node in self.nodes)

    def address_of_lane(self, lane: int) -> str:
        """Where a member of that lane finds the brokers."""
        return self.lanes[lane % len(self.lanes)].address if self.lanes else self.bootstrap_servers

    def busiest(self) -> MavenKafka:
        """The node that leads most partitions; the first one when nobody answers."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, **QUIET})
        try:
            topics = admin.list_topics(timeout=ANSWER_TIMEOUT_S).topics.values()
        except KafkaException:
            return self.nodes[0]
        leaders = [partition.leader for topic in topics for partition in topic.partitions.values()]
        return max(self.nodes, key=lambda node: leaders.count(self.nodes.index(node) + 1))


def _listeners(port: int, controller: int, lane_ports: list[int], lanes: list[str]) -> dict[str, str]:
    """One listener for tests, one for controllers, one for each lane, whose advertised address is its proxy's."""
    own = [f"PLAINTEXT://127.0.0.1:{port}"]
    behind = [f"LANE{number}://127.0.0.1:{each}" for number, each in enumerate(lane_ports)]
    proxied = [f"LANE{number}://{address}" for number, address in enumerate(lanes)]
    names = ["PLAINTEXT", "CONTROLLER", *(f"LANE{number}" for number in range(len(lanes)))]
    return {
        "listeners": ",".join([*own, *behind, f"CONTROLLER://127.0.0.1:{controller}"]),
        "advertised.listeners": ",".join([*own, *proxied]),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in names),
        "inter.broker.listener.name": "PLAINTEXT",
    }


class SmallDisk:
    """A file system of its own that can be filled to the last byte. Needs the right to mount."""

    def __init__(self) -> None:
        if shutil.which("mount") is None:
            raise CannotMountError("no `mount` here")
        self.path = Path(tempfile.mkdtemp(prefix="kafka-chaos-disk-"))
        command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m", "tmpfs", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.path.rmdir()
            raise CannotMountError(done.stderr.strip() or f"mount ended with {done.returncode}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def _filler(self) -> Path:
        return self.path / "filler"

    def fill(self) -> None:
        """Nothing can be written any more."""
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as filler:
            while True:
                filler.write(FILLER_BLOCK)

    def free(self) -> None:
        """As much room as before."""
        self._filler.unlink(missing_ok=True)
