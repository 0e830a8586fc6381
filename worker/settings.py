"""Everything the operator may decide: one frozen value, checked when it is built.

A field `lookback_seconds` is the flag `--lookback-seconds`, the variable `WORKER_LOOKBACK_SECONDS` and the key
`lookback_seconds` of the settings file. `worker.settings_sources` finds out who said what; here is what may be said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from worker import settings_sources
from worker.errors import ExitCode, Fatal
from worker.kafka_properties import ALIASES, is_secret, refusal
from worker.listen import parse_listen

CONSUMER_PROTOCOL_SESSION_MS = 45_000  # the broker's default, and its minimum; the client cannot change it
LONGEST_DELIVERY_MS = 30_000
LONGEST_TRANSACTION_MS = 10_000  # how long a dead member's transaction may keep readers waiting (Kafka Streams' value)
SHARE_OF_SESSION_FOR_DELIVERY = 0.8  # leaves a heartbeat's time between the last delivery and the end of the session
EXACTLY_ONCE_COMMIT_INTERVAL_S = 0.1  # readers wait for it
HEARTBEATS_PER_SESSION = 3
COMMITS_PER_TRANSACTION_TIMEOUT = 2

_TOPIC_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")

Number = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field, or with the librdkafka property `prop` of the field `kafka`."""

    name: str
    text: str
    prop: str = ""


class Settings(BaseModel):
    """What one process works with. Immutable; a secret is a `SecretStr` and shows up in no text.

    Raises:
        pydantic.ValidationError: a value is wrong (`load_settings` says so in the user's words).
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True, coerce_numbers_to_str=True
    )

    bootstrap_servers: str = Field("localhost:9092", description="Brokers to start from: host:port, comma-separated.")
    group_id: str = Field("context-worker", description="Consumer group; members of one group share the partitions.")
    input_topic: str = Field("autoplay.actions", description="Session-keyed payloads are read from here.")
    output_topic: str = Field("autoplay.user-context", description="User-keyed context records are written here.")
    dlq_topic: str = Field("autoplay.actions.dlq", description="Records that cannot be read go here, byte for byte.")
    repartition_topic: str = Field(
        "", description="Internal, user-keyed topic between the two stages; empty = `{group_id}-by-user-repartition`."
    )
    session_output_topic: str = Field(
        "", description="Session-keyed records of visitors without an identity are written here; empty = off."
    )
    create_topics: bool = Field(True, description="Create the worker's own topics when they are missing.")

    lookback_seconds: Number = Field(
        300.0, gt=0, description="How far a user's record reaches back from their newest event, in seconds."
    )
    max_sessions_per_user: int = Field(20, ge=1, description="Sessions in one user's record, newest first.")
    max_actions_per_session: int = Field(200, ge=1, description="Actions in one session, newest kept.")
    max_held_sessions: int = Field(
        10_000, ge=1, description="Sessions without a user that one partition holds; beyond it the oldest are dropped."
    )
    max_record_bytes: int = Field(
        512 * 1024, ge=1024, le=64 * 1024 * 1024, description="Largest user record in bytes; oldest context goes first."
    )
    max_clock_skew_s: Number = Field(
        60.0, ge=0, description="How far, in seconds, an event time may lie ahead of the broker's before it is clamped."
    )
    link_retention_s: Number = Field(
        3600.0, gt=0, description="A session stays linked to its user this many seconds after it last named them."
    )
    anonymous_user_id_pattern: str = Field(
        "",
        description="User ids that match this regular expression anywhere in the id count as absent; empty = none.",
    )
    include_email: bool = Field(True, description="Write the user's e-mail address; off: only dead letters have it.")

    processing_guarantee: Literal["at_least_once", "exactly_once"] = Field(
        "at_least_once",
        description="`at_least_once`: repeats are possible and harmless; `exactly_once`: in transactions.",
    )
    instance_id: str = Field(
        "", description="This member's name, its own and the same after a restart: static membership; empty = off."
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        "classic", description="Group protocol of the broker: `classic`, or `consumer` (Kafka 4.0 and newer)."
    )
    upgrade_from: Literal["", "1"] = Field(
        "",
        description="While members are upgraded: the form that the old ones write (see Upgrade); empty = the newest.",
    )
    session_timeout_ms: int = Field(
        15_000,
        ge=500,
        le=1_800_000,
        description="A member that is silent for this many ms loses its partitions (consumer protocol: the broker's).",
    )
    heartbeat_interval_ms: int = Field(
        1000, ge=50, description="Time between two heartbeats in ms: how soon members learn of a join or leave."
    )
    expire_idle_users: bool = Field(
        True, description="Expire users by the wall clock where no records arrive; off for back-fills of old topics."
    )
    idle_after_s: Number = Field(10.0, gt=0, description="A partition is idle after this many seconds at its end.")
    commit_interval_s: Number = Field(
        1.0, gt=0, le=3600, description="Seconds between two checkpoints (`exactly_once`: 0.1 unless told otherwise)."
    )
    publish_interval_ms: int = Field(
        0,
        ge=0,
        le=3_600_000,
        description="The longest that a changed user may wait for more before it is published, ms; "
        "under a backlog a batch is read for a second first.",
    )
    stall_timeout_s: Number = Field(
        120.0, gt=0, description="Stop with a named exit code after this many seconds without progress despite lag."
    )
    dlq_max_ratio: Number = Field(
        0.0, ge=0, le=1, description="Stop when more than this share of records are dead letters, 0 to 1; 0 = never."
    )
    http_address: str = Field("", description="Health and metrics of `run`, host:port; empty = off.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="`text`, `json` (one object a line), or `auto`: text on a terminal, else json."
    )
    kafka: dict[str, str | SecretStr] = Field(
        default_factory=dict, description="Any other librdkafka property, e.g. `security.protocol`."
    )

    @property
    def retention_s(self) -> float:
        """How long a stage remembers: twice the lookback, in seconds."""
        return 2 * self.lookback_seconds

    @property
    def effective_session_timeout_ms(self) -> int:
        """After how long a silent member loses its partitions. Consumer protocol: the broker's default unless told."""
        if self.group_protocol == "consumer" and "session_timeout_ms" not in self.model_fields_set:
            return CONSUMER_PROTOCOL_SESSION_MS
        return self.session_timeout_ms

    @property
    def is_exactly_once(self) -> bool:
        return self.processing_guarantee == "exactly_once"

    @property
    def effective_commit_interval_s(self) -> float:
        """Seconds between two checkpoints. With exactly_once nobody sees a record before, so it is short."""
        if self.is_exactly_once and "commit_interval_s" not in self.model_fields_set:
            return EXACTLY_ONCE_COMMIT_INTERVAL_S
        return self.commit_interval_s

    @property
    def transaction_timeout_ms(self) -> int:
        """When the broker takes an open transaction back: before another member may own its partitions."""
        return self._given_ms("transaction.timeout.ms") or min(LONGEST_TRANSACTION_MS, self._most_of_the_session_ms)

    @property
    def delivery_timeout_ms(self) -> int:
        """When a record that waits in the producer is given up: always before another member may own its partition."""
        longest = self.transaction_timeout_ms if self.is_exactly_once else LONGEST_DELIVERY_MS
        return self._given_ms("delivery.timeout.ms") or min(longest, self._most_of_the_session_ms)

    @property
    def _most_of_the_session_ms(self) -> int:
        return int(self.effective_session_timeout_ms * SHARE_OF_SESSION_FOR_DELIVERY)

    def _given_ms(self, name: str) -> int | None:
        given = self.kafka.get(name)
        return None if given is None else int(reveal(given))

    @field_validator("instance_id")
    @classmethod
    def _stripped(cls, value: str) -> str:
        return value.strip()

    @field_validator("bootstrap_servers", "group_id")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        return _checked(value.strip(), "expected a text that is not empty", holds=bool(value.strip()))

    @field_validator("input_topic", "output_topic", "dlq_topic", "repartition_topic", "session_output_topic")
    @classmethod
    def _topic_name(cls, value: str, info: ValidationInfo) -> str:
        value = value.strip()
        if not value and info.field_name == "session_output_topic":
            return value
        if not value and info.field_name == "repartition_topic":
            value = f"{info.data.get('group_id', 'unknown')}-by-user-repartition"
        legal = _TOPIC_NAME.fullmatch(value) is not None and value not in {".", ".."}
        expected = "expected a topic name (letters, digits, '.', '_', '-'; at most 249)"
        if not legal and info.field_name == "repartition_topic":
            expected += f" here or in group_id, of which {value!r} was made"
        return _checked(value, expected, holds=legal)

    @field_validator("anonymous_user_id_pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as exc:
            raise PydanticCustomError("expected", "expected a regular expression ({text})", {"text": str(exc)}) from exc
        return value

    @field_validator("http_address")
    @classmethod
    def _can_be_listened_on(cls, value: str) -> str:
        if value.strip():
            try:
                parse_listen(value)
            except ValueError as exc:
                raise PydanticCustomError("expected", "{text}", {"text": str(exc)}) from exc
        return value.strip()

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("kafka")
    @classmethod
    def _may_pass(cls, value: dict[str, str | SecretStr]) -> dict[str, str | SecretStr]:
        passed: dict[str, str | SecretStr] = {}
        wrong: list[Problem] = []
        for given, content in value.items():
            name = ALIASES.get(given, given)
            text = reveal(content)
            reason = refusal(name, text)
            if reason:
                wrong.append(Problem("kafka", reason, prop=name))
            passed[name] = SecretStr(text) if is_secret(name) else text
        if wrong:
            raise _several(wrong)
        return passed

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        wrong = [*_same_topics(self), *_timeouts(self), *_transaction(self)]
        if wrong:
            raise _several(wrong)
        return self


def reveal(value: str | SecretStr) -> str:
    """The text itself: for the client's configuration, never for a message."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _checked(value: str, expected: str, *, holds: bool) -> str:
    if not holds:
        raise PydanticCustomError("expected", "{text}", {"text": expected})
    return value


def _several(problems: list[Problem]) -> PydanticCustomError:
    text = "; ".join(f"{problem.prop or problem.name}: {problem.text}" for problem in problems)
    return PydanticCustomError("several", "{text}", {"text": text, "problems": problems})


def _same_topics(settings: Settings) -> list[Problem]:
    wrong: list[Problem] = []
    seen: dict[str, str] = {}
    for field in ("input_topic", "output_topic", "dlq_topic", "repartition_topic", "session_output_topic"):
        topic = getattr(settings, field)
        if topic and topic in seen:
            wrong.append(Problem(field, f"expected a topic of its own, got {topic!r}, which is {seen[topic]} already"))
        seen.setdefault(topic, field)
    return wrong


def _timeouts(settings: Settings) -> list[Problem]:
    wrong: list[Problem] = []
    session = settings.effective_session_timeout_ms
    if settings.group_protocol == "classic" and settings.heartbeat_interval_ms * HEARTBEATS_PER_SESSION > session:
        heartbeat = settings.heartbeat_interval_ms
        text = f"expected at most a third of session_timeout_ms ({session}), got {heartbeat}"
        wrong.append(Problem("heartbeat_interval_ms", text))
    if settings.delivery_timeout_ms >= session:
        text = (
            f"expected less than the session timeout ({session}), got {settings.delivery_timeout_ms}: "
            "what a stopped member left in its queue must be dead before its successor works"
        )
        wrong.append(Problem("kafka", text, prop="delivery.timeout.ms"))
    return wrong


def _transaction(settings: Settings) -> list[Problem]:
    wrong: list[Problem] = []
    if not settings.is_exactly_once:
        return wrong
    session, longest = settings.effective_session_timeout_ms, settings.transaction_timeout_ms
    if longest >= session:
        text = (
            f"expected less than the session timeout ({session}), got {longest}: "
            "a dead member's transaction must be over before its successor works"
        )
        wrong.append(Problem("kafka", text, prop="transaction.timeout.ms"))
    if settings.delivery_timeout_ms > longest:
        text = f"expected at most transaction.timeout.ms ({longest}), got {settings.delivery_timeout_ms}"
        wrong.append(Problem("kafka", text, prop="delivery.timeout.ms"))
    interval_ms = settings.effective_commit_interval_s * 1000
    if interval_ms * COMMITS_PER_TRANSACTION_TIMEOUT > longest:
        text = f"expected at most half of transaction.timeout.ms ({longest}), got {interval_ms:.0f} ms"
        wrong.append(Problem("commit_interval_s", text))
    return wrong


def load_settings(flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None = None) -> Settings:
    """The settings of this process: flag before environment before file before default.

    `flags` maps field names to values (None = not given; `kafka` = NAME=VALUE texts); `file` is TOML, by default the
    one that WORKER_CONFIG names.

    Raises:
        Fatal: with ExitCode.USAGE; all mistakes together, each under the name that the user wrote.
    """
    gathered = settings_sources.gather(flags, environ, file, Settings.model_fields)
    problems = list(gathered.problems)
    settings = None
    try:
        settings = Settings.model_validate({**gathered.values, "kafka": gathered.kafka})
    except ValidationError as exc:
        problems += _in_the_users_words(exc, gathered)
    if problems or settings is None:
        many = "a setting is wrong" if len(problems) == 1 else f"{len(problems)} settings are wrong"
        raise Fatal(
            ExitCode.USAGE,
            "\n".join([f"{many}:", *(f"  {problem}" for problem in problems)]),
            hint="`context-worker run --help` lists every setting with its default",
        )
    return settings


def _in_the_users_words(exc: ValidationError, gathered: settings_sources.Gathered) -> Iterator[str]:
    for error in exc.errors(include_url=False):
        context = error.get("ctx", {})
        if error["type"] == "several":
            for problem in context["problems"]:
                key = f"kafka:{problem.prop}" if problem.prop else problem.name
                yield f"{gathered.labels.get(key, problem.prop or problem.name)}: {problem.text}"
            continue
        name = str(error["loc"][0])
        expected = error["msg"].replace("Input should be", "expected").split(", unable to")[0]
        seen = gathered.values.get(name, "")
        yield f"{gathered.labels.get(name, name)}: {expected}" + (f", got {seen!r}" if name in gathered.labels else "")


def settings_table() -> str:
    """The settings as a Markdown table, for the README."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        written = "WORKER_KAFKA_…" if name == "kafka" else settings_sources.variable(name)
        default = "" if field.default_factory else _shown(field.default)
        lines.append(f"| `{written}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"`{default}`" if default != "" else ""
