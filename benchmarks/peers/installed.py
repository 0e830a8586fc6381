"""Which peers there are, what each takes to be installed, and how each is run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from benchmarks.subjects import Subject

HERE = Path(__file__).parent
BUILT = HERE / ".built"
QUIX_PYTHON = BUILT / "quix" / "bin" / "python"
STREAMS_JAR = BUILT / "streams" / "streams-peer.jar"
JAVA_OPTIONS = ("-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
ENDED_BY_SIGTERM = 143  # what a JVM says after its shutdown hooks


@dataclass(frozen=True, slots=True)
class Peer:
    """An engine. It makes `own_topics`, which follow from group and input; the first one is its repartition topic."""

    name: str
    command: tuple[str, ...]
    own_topics: Callable[[str, str], tuple[str, ...]]
    is_installed: Callable[[], bool]
    for_latency: Mapping[str, str] = field(default_factory=dict)
    stops_with: tuple[int, ...] = (0,)

    def subject(
        self, bootstrap_servers: str, input_topic: str, output_topic: str, *, is_for_latency: bool = False
    ) -> Subject:
        """A run of it, over two topics that exist."""
        group = f"bench-{uuid4().hex[:8]}"
        own = self.own_topics(group, input_topic)
        command = (*self.command, bootstrap_servers, input_topic, output_topic, group)
        settings = self.for_latency if is_for_latency else {}
        return Subject(self.name, command, group, (input_topic, own[0]), output_topic, own, settings, self.stops_with)


STREAMS = Peer(
    "Kafka Streams",
    ("java", *JAVA_OPTIONS, "-cp", f"{STREAMS_JAR}:{STREAMS_JAR.parent / 'lib'}/*", "StreamsPeer"),
    lambda group, _: (f"{group}-by-user-repartition", f"{group}-users-changelog"),
    lambda: STREAMS_JAR.exists() and shutil.which("java") is not None,
    {"LATENCY": "1"},
    (0, ENDED_BY_SIGTERM),
)
QUIX = Peer(
    "Quix Streams",
    (str(QUIX_PYTHON), str(HERE / "quix_streams.py")),
    lambda group, topic: (
        f"repartition__{group}--{topic}--user_id",
        f"changelog__{group}--repartition.{topic}.user_id--default",
    ),
    QUIX_PYTHON.exists,
)
SDK = Peer(
    "autoplay SDK in a loop",
    (sys.executable, "-m", "benchmarks.peers.sdk_loop"),
    lambda group, _: (f"{group}-by-user-repartition",),
    lambda: True,
)
PEERS = (STREAMS, QUIX, SDK)
