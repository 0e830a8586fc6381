"""What can go wrong, named by what the runtime does next.

    WorkerError
    ├── Retriable           back off, the same step again
    ├── TaskMigrated        another member owns the partitions: drop the tasks, commit nothing
    ├── TaskCorrupted       memory and log may differ: drop the tasks, restore them from what is committed
    └── Fatal               stop the process with a named exit code

A record that cannot be read is no WorkerError: `schemas.codec.InvalidPayload` makes it a dead letter, and the next one
is processed. A Fatal says what was expected, what was seen and what to do (`hint`).
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended. Scripts and supervisors may rely on the numbers."""

    OK = 0  # done; for `run`: asked to stop, and everything that was read is published and committed
    FAILED = 1  # an error nobody foresaw; the traceback is in the log
    USAGE = 2  # a flag, a variable or a settings file is wrong
    BAD_INPUT = 3  # `produce`, `dlq retry`: some records were refused; `demo`: a record was not what it had to be
    NOT_FOUND = 4  # `user`: nothing is known of this user
    PENDING = 5  # `reset-user`: the reset is written for good, but its effect was not seen in time
    BROKER_UNREACHABLE = 10  # no broker answers at the given addresses
    TOPIC_MISSING = 11  # the input topic does not exist, or one of ours that may not be created
    TOPIC_MISCONFIGURED = 12  # a topic's cleanup policy, retention or timestamp type would break the promise
    NOT_AUTHORIZED = 13  # the broker refuses a right, a credential or a certificate; or we do not trust its own
    UNKNOWN_FORM = 14  # the repartition topic holds a form this version cannot read
    STALLED = 15  # a restore or a partition with lag made no progress for stall_timeout_s
    DEAD_LETTERS = 16  # dead letters cannot be written, or are more than dlq_max_ratio
    CLIENT_FATAL = 17  # the Kafka client says that it cannot go on (fenced, or a fatal error)
    UNCLEAN_STOP = 18  # asked to stop, but the last checkpoint could not be made in time
    GROUP_IS_LIVE = 19  # `replay`: the group has members; it works on a group that nobody is in
    STUCK = 20  # the loop did not come round any more; the stacks of all threads are in the log
    INTERRUPTED = 130  # Ctrl-C in a command that is not the service, or a no to its question
    OUTPUT_CLOSED = 141  # whoever read stdout went away (`head` had enough): as other tools end then


class WorkerError(Exception):
    """Any error this project raises on purpose."""


class Retriable(WorkerError):
    """The same step may succeed in a moment."""


class TaskMigrated(WorkerError):
    """The partitions belong to another member by now: drop the tasks and commit nothing."""


class TaskCorrupted(WorkerError):
    """What the tasks remember may differ from what the topics say: drop them and restore from what is committed."""


class Fatal(WorkerError):
    """The process stops with `exit_code`; `hint` says what to do about it."""

    def __init__(self, exit_code: ExitCode, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\n  -> {self.hint}" if self.hint else message
