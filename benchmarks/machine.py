"""Where and with what the figures were measured: half of what a figure says."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import confluent_kafka

LIBRARIES = ("confluent-kafka", "orjson", "msgspec", "pydantic")


def describe() -> dict[str, str]:
    """The machine, its load now, and the versions."""
    one, five, fifteen = os.getloadavg()
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "load": f"{one:.1f} {five:.1f} {fifteen:.1f} (1, 5, 15 minutes before the start)",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "librdkafka": confluent_kafka.libversion()[0],
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
