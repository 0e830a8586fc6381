"""The image's health check, without an image."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from tests.brokers import free_port
from tests.deploy.promql import DEPLOY
from worker.http_service import Answer, HttpService
from worker.listen import parse_listen

HEALTH_CHECK = re.compile(r"^HEALTHCHECK .*\\\n *CMD (\[.*\])$", re.MULTILINE)


def health_check(address: str) -> int:
    found = HEALTH_CHECK.search((DEPLOY / "Dockerfile").read_text())
    assert found
    python, *arguments = json.loads(found.group(1))
    assert python == "python"
    environment = {**os.environ, "WORKER_HTTP_ADDRESS": address}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False, timeout=30)
    return done.returncode


def test_it_asks_where_the_member_listens() -> None:
    answers = [200, 503]
    listen = parse_listen("127.0.0.1:0")
    with HttpService(listen, {"/healthz": lambda: Answer(answers.pop(0), b"")}) as service:
        assert [health_check(f"0.0.0.0:{service.port}") for _ in list(answers)] == [0, 1]


def test_where_nobody_answers_it_fails_and_where_nobody_listens_on_purpose_it_does_not() -> None:
    assert health_check(f"0.0.0.0:{free_port()}") == 1
    assert health_check("") == 0
