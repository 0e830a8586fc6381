"""CPU time and memory of a process and all its children, from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """What a tree of processes has used so far, and holds now. CPU comes in ticks, mostly of 10 ms."""

    cpu_s: float
    rss_bytes: int


def usage_of(pid: int) -> Usage:
    """The usage of a process, its living children, and those it has waited for. Who is gone counts nothing."""
    cpu_s, rss_bytes = 0.0, 0
    waiting = [pid]
    while waiting:
        process = Path("/proc", str(waiting.pop()))
        try:
            cpu_s += cpu_seconds((process / "stat").read_text())
            rss_bytes += int((process / "statm").read_text().split()[1]) * _PAGE_BYTES
            for thread in (process / "task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return Usage(cpu_s, rss_bytes)


def cpu_seconds(stat: str) -> float:
    """User and system time in a line of /proc/PID/stat, own and of children that ended and were waited for."""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return sum(map(int, fields[11:15])) / _TICKS_PER_S
