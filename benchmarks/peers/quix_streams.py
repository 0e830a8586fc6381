"""The same job with Quix Streams: `quix_streams.py BOOTSTRAP INPUT OUTPUT GROUP`, until SIGTERM.

One dataframe: grouped by user over a repartition topic, a stateful fold, the output. State is one JSON value per user,
in RocksDB and with a changelog topic, as Quix does it by itself. Needs nothing of the project: its environment is its
own.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from quixstreams import Application
from quixstreams.state import State

LOOKBACK_S = 300.0
MAX_SESSIONS = 20

Value = dict[str, Any]


def slim(payload: Value) -> Value:
    """What goes over the repartition topic: the lines instead of the actions."""
    kept = {name: payload[name] for name in ("user_id", "email", "session_id", "product_id", "forwarded_at")}
    return kept | {"lines": [line_of(action) for action in payload["actions"]]}


def line_of(action: Value) -> str:
    """An action as it shows in a record."""
    return f"[{action['index']}] {action['type']}: {action['description']} — {action['canonical_url']}"


def fold(payload: Value, state: State) -> Value:
    """Remember the payload, forget what left the user's window, and give their record."""
    user: Value = state.get("user") or {"newest": 0.0, "sessions": {}}
    user["newest"] = max(user["newest"], payload["forwarded_at"])
    session_id, sessions = payload["session_id"], user["sessions"]
    session = sessions.setdefault(session_id, {"product_id": payload["product_id"], "seen": 0.0, "batches": []})
    session["seen"] = max(session["seen"], payload["forwarded_at"])
    session["batches"].append([payload["forwarded_at"], payload["lines"]])
    since = user["newest"] - LOOKBACK_S
    for name in list(sessions):
        sessions[name]["batches"] = [batch for batch in sessions[name]["batches"] if batch[0] >= since]
        if not sessions[name]["batches"]:
            del sessions[name]
    newest_first = sorted(sessions, key=lambda name: -sessions[name]["seen"])
    for name in newest_first[MAX_SESSIONS:]:
        del sessions[name]
    state.set("user", user)
    shown = [record_of(name, sessions[name]) for name in newest_first[:MAX_SESSIONS]]
    return {"user_id": payload["user_id"], "email": payload["email"], "sessions": shown}


def record_of(session_id: str, session: Value) -> Value:
    """A session as it shows in a record."""
    lines = [line for _, batch in session["batches"] for line in batch]
    numbered = "\n".join([f"{number}. {line}" for number, line in enumerate(lines, 1)])
    return {
        "session_id": session_id,
        "product_id": session["product_id"],
        "last_seen_at": session["seen"],
        "action_count": len(lines),
        "context": f"Recent activity:\n{numbered}",
    }


def main() -> None:
    """Run until SIGTERM."""
    with tempfile.TemporaryDirectory(prefix="quix-") as state_dir:
        run(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], state_dir)


def run(bootstrap_servers: str, input_topic: str, output_topic: str, group: str, state_dir: str) -> None:
    """The application."""
    app = Application(
        broker_address=bootstrap_servers,
        consumer_group=group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=state_dir,
        producer_extra_config={
            "linger.ms": 5,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 500_000,
        },
    )
    source = app.topic(input_topic, key_deserializer="str", value_deserializer="json")
    sink = app.topic(output_topic, key_serializer="str", value_serializer="json")
    users = app.dataframe(source).apply(slim).group_by("user_id", key_serializer="str", key_deserializer="str")
    users.apply(fold, stateful=True).to_topic(sink)
    app.run()


if __name__ == "__main__":
    main()
