"""A real Prometheus that scrapes what a test tells it to."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from tests.brokers import free_port

HOW_TO_GET_IT = "install Debian's package `prometheus`"
START_S = 30.0
STOP_S = 20.0


class NoPrometheusError(Exception):
    """There is none here."""


def find_program(name: str) -> str:
    """`prometheus` or `promtool`.

    Raises:
        NoPrometheusError: it is not installed.
    """
    found = shutil.which(name)
    if found is None:
        raise NoPrometheusError(f"no `{name}` here")
    return found


class PrometheusApi:
    """Asks a Prometheus that runs on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    def query(self, expression: str) -> list[float]:
        """The values that an expression has now; nothing where it has none, or while Prometheus starts."""
        asked = urllib.parse.urlencode({"query": expression})
        try:
            answer = self._get(f"query?{asked}")
        except OSError:
            return []
        return [float(each["value"][1]) for each in answer["result"]]

    def wait_for(self, expression: str, *, timeout_s: float = START_S) -> list[float]:
        """Until the expression has a value, and that."""
        deadline = time.monotonic() + timeout_s
        while not (found := self.query(expression)):
            assert time.monotonic() < deadline, f"{expression} has no value\n{self._log}"
            time.sleep(0.2)
        return found

    def alerts(self) -> list[str]:
        """The names of all alerts that it knows, firing or not."""
        return [rule["name"] for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}", timeout=10) as response:
            return json.load(response)["data"]

    @property
    def _log(self) -> str:
        """What it has said, where that is known."""
        return ""


class Prometheus(PrometheusApi):
    """Scrapes twice a second while it is entered."""

    def __init__(self, folder: Path) -> None:
        super().__init__(free_port())
        self._program = find_program("prometheus")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def scrape(self, targets: Iterable[str], rules: Path | None = None) -> Self:
        """Start, with these addresses, and alerts that are looked at as often."""
        config = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": [{"job_name": "worker", "static_configs": [{"targets": list(targets)}]}],
        }
        path = self._folder / "prometheus.yml"
        path.write_text(json.dumps(config))  # YAML is a superset
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={path}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_S)

    @property
    def _log(self) -> str:
        return (self._folder / "prometheus.log").read_text()[-2000:]
