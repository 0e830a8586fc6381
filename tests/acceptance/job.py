"""One run of the main job: its topics, its settings, and whether what came out is what the oracle says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from schemas.dead_letter import DeadLetter, own_headers
from tests.acceptance.comparing import Users, differences, newest_records, newest_visitors
from tests.acceptance.members import Group
from tests.acceptance.oracle import Expected, OracleSettings, fold
from tests.acceptance.records import Record, Sent
from tests.acceptance.topic_log import Feed, create_input_topic, delete_topics, read_topic
from tests.acceptance.traffic import ANONYMOUS_PATTERN, Plan, generate
from tests.routed import routed_in

SHOWN_DIFFERENCES = 5
CATCH_UP_TIMEOUT_S = 90.0


class Job:
    """A fresh input topic, the traffic for it, and a group with settings that fit the traffic."""

    def __init__(self, bootstrap: str, unique: Callable[[str], str], log_dir: Path, plan: Plan) -> None:
        self.bootstrap = bootstrap
        self.plan = plan
        self.settings: dict[str, object] = {
            "bootstrap_servers": bootstrap,
            "group_id": unique("group"),
            "input_topic": unique("input"),
            "output_topic": unique("output"),
            "dlq_topic": unique("dlq"),
            "session_output_topic": unique("sessions"),
            "lookback_seconds": plan.lookback_seconds,
            "link_retention_s": plan.link_retention_s,
            "anonymous_user_id_pattern": ANONYMOUS_PATTERN,
            "expire_idle_users": False,
            "heartbeat_interval_ms": 500,
        }
        self.group = Group(self.settings, log_dir)
        create_input_topic(bootstrap, self.group.input_topic, partitions=plan.partitions)
        self.feed = Feed(bootstrap, self.group.input_topic)

    @cached_property
    def sent(self) -> list[Sent]:
        """The traffic, in the order of time."""
        return generate(self.plan)

    def sent_until(self, lookbacks_before_the_end: float) -> int:
        """How many of the records are older than that. What happens to the members within the last lookback shows."""
        end_ms = (self.plan.start + self.plan.span_s - lookbacks_before_the_end * self.plan.lookback_seconds) * 1000
        return sum(record.timestamp_ms < end_ms for record in self.sent)

    def feed_all(self, records: Iterable[Sent], *, until_done: bool = False) -> None:
        """Send the records and wait until the broker has them; `until_done`: until the members have committed them."""
        self.feed.send(records)
        self.feed.flush()
        if until_done:
            self.group.wait_for(lambda: not self.group.lag(), "all of it committed", timeout_s=CATCH_UP_TIMEOUT_S)

    def chunks(self, records: Sequence[Sent], size: int = 20) -> Iterator[Sequence[Sent]]:
        """The records in slices, to be sent one at a time while something else happens."""
        return (records[start : start + size] for start in range(0, len(records), size))

    def close(self) -> None:
        """Remove the topics."""
        group = self.group
        topics = (group.input_topic, group.repartition_topic, group.output_topic, group.dlq_topic, self.session_topic)
        delete_topics(self.bootstrap, topics)

    @property
    def session_topic(self) -> str:
        return str(self.settings["session_output_topic"])

    def expected(self) -> Expected:
        """What the oracle makes of the input topic as it is."""
        settings = OracleSettings(
            lookback_seconds=self.plan.lookback_seconds,
            link_retention_s=self.plan.link_retention_s,
            anonymous_user_id_pattern=ANONYMOUS_PATTERN,
            repartition_partitions=self.plan.partitions,
        )
        return fold(read_topic(self.bootstrap, self.group.input_topic), settings)

    def output(self) -> Users:
        """The newest record of every user; None = a tombstone."""
        return newest_records(read_topic(self.bootstrap, self.group.output_topic), self.plan.partitions)

    def assert_users(self, expected: Expected) -> None:
        """The newest record of every user equals the oracle's, field by field; a user without context may be absent."""
        output = self.output()
        wrong = differences(expected.users, output)
        assert not wrong, f"{len(wrong)} of {len(expected.users)} users:\n" + "\n".join(wrong[:SHOWN_DIFFERENCES])
        self._assert_versions({user_id: record["version"] for user_id, record in output.items() if record is not None})

    def _assert_versions(self, versions: dict[str, int]) -> None:
        """A record's version is the offset of a record that was routed to its user."""
        routed = read_topic(self.bootstrap, self.group.repartition_topic)
        offsets: dict[str, set[int]] = {user_id: set() for user_id in versions}
        for record in (record for records in routed.values() for record in records):
            for payload in routed_in([record.value]):
                offsets.get(payload.user_id, set()).add(record.offset)
            if record.value is None:
                offsets.get((record.key or b"").decode(), set()).add(record.offset)
        strange = {user_id: version for user_id, version in versions.items() if version not in offsets[user_id]}
        assert not strange

    def assert_visitors(self, expected: Expected) -> None:
        """The newest record of every session id that lives on one partition equals the oracle's."""
        log = read_topic(self.bootstrap, self.session_topic)
        wrong = differences(expected.visitors, newest_visitors(log, self.plan.partitions, expected.visitors))
        assert not wrong, f"{len(wrong)} of {len(expected.visitors)} sessions:\n" + "\n".join(wrong[:SHOWN_DIFFERENCES])

    def assert_dead_letters(self, expected: Expected, *, repeats: bool = False) -> None:
        """The undecodable records as they were received, nothing else; each once, unless a crash may repeat some."""
        received = read_topic(self.bootstrap, self.group.input_topic)
        letters = [
            record for records in read_topic(self.bootstrap, self.group.dlq_topic).values() for record in records
        ]
        sources = []
        for letter in letters:
            said = DeadLetter.from_headers(letter.headers)
            assert said is not None, letter.headers
            source = received[said.source_partition][said.source_offset]
            assert said.source_topic == self.group.input_topic
            assert said.source_timestamp_ms == source.timestamp_ms
            assert said.reason
            assert said.software_version
            assert as_received(letter) == as_received(source)
            sources.append(source.position)
        assert sorted(set(sources) if repeats else sources) == sorted(expected.dead_letters)

    def assert_right(self, *, repeats: bool = False) -> Expected:
        """Users, visitors and dead letters."""
        expected = self.expected()
        self.assert_users(expected)
        self.assert_visitors(expected)
        self.assert_dead_letters(expected, repeats=repeats)
        return expected


def as_received(record: Record) -> tuple[object, ...]:
    """What must not change on the way to the dead-letter topic."""
    return record.key, record.value, tuple(own_headers(record.headers))
