"""What commands show: for people on a terminal, plain text elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from worker.topics import TopicReport


def print_topics(report: TopicReport, console: Console | None = None) -> None:
    """A line for each topic, then the warnings."""
    console = console or Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in ("topic", "for", "partitions", "policy", "timestamps", "max bytes", ""):
        table.add_column(name, no_wrap=True)
    for topic in report.topics.values():
        config = topic.config or {}
        state = "created" if topic.created else "ok" if topic.config is not None else "not shown"
        table.add_row(
            topic.name,
            topic.role.value.removesuffix("_topic").replace("_", " "),
            str(topic.partitions),
            config.get("cleanup.policy", "?"),
            config.get("message.timestamp.type", "?"),
            config.get("max.message.bytes", "?"),
            state,
        )
    console.print(table)
    for warning in report.warnings:
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)
