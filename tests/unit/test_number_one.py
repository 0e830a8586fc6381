"""A command that is number 1 of its container: the kernel spares it what a signal does by default."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.brokers import CHECKOUT

LOOKS_FOR_A_BROKER = """
import os, sys
os.getpid = lambda: {number}
sys.argv = ["context-worker", "run", "--bootstrap-servers", "127.0.0.1:1"]
from worker import app, cli
app.ensure_topics = lambda *_: (print("looking", flush=True), sys.stdin.read())
cli.main()
"""


@pytest.mark.parametrize(("number", "exit_code"), [(1, 128 + signal.SIGTERM), (2, -signal.SIGTERM)])
def test_it_ends_at_a_signal_also_before_it_has_connected(number: int, exit_code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOOKS_FOR_A_BROKER.format(number=number)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "looking\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == exit_code
